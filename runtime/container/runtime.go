package container

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/mailbox"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/keeper/client"
	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/prepare"
	"github.com/berth-runtime/berth/runtime/seccomp"
)

// Keeper connects to the node's keeper; supervise.Supervisor is the one in use.
type Keeper interface {
	// Connect returns a new connection, starting a keeper where none answers. It returns when a keeper answers, or an
	// error: that of ctx, or one that trying again would not mend.
	Connect(ctx context.Context) (*client.Client, error)
}

// Config is what a Runtime needs. All fields but Resctrl must be set.
type Config struct {
	State   string // folder on a tmpfs; each container's stdio folder is State/ID
	Keeper  Keeper
	Cgroups *cgroup.Host
	Logger  *slog.Logger
	Resctrl string // where resctrl is mounted; "" = look for it when a container needs it
}

// Runtime runs containers. All methods may be called at once from many goroutines; those on one container that
// exclude each other (Start and Delete) are put in order.
type Runtime struct {
	cfg   Config
	facts plan.Facts
	exits *mailbox.Box[ExitEvent]
	holds *client.Holds // FIFOs of running containers
	stop  context.CancelFunc
	tasks sync.WaitGroup // the loop and what it starts

	filters *seccomp.Compiler
	proc    *os.File // a procfs, attached nowhere

	mu         sync.Mutex
	containers map[string]*container
	execs      map[string]*Exec // by the keeper's ID
	conn       *client.Client   // nil while there is none
	connected  chan struct{}    // closed when conn is set; a new one when it is lost
	gone       chan struct{}    // closed when conn is lost; a new one when it is set
	closed     bool
}

// New connects to the keeper (starting one if needed) and keeps that connection, through the deaths of keepers, until
// Close.
func New(ctx context.Context, cfg Config) (_ *Runtime, err error) {
	facts, err := prepare.ReadFacts(cfg.Cgroups)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.State, 0o700); err != nil {
		return nil, err
	}
	cu := cleanup.Make(&err)
	defer cu.Clean()
	proc, err := prepare.OpenProc()
	if err != nil {
		return nil, err
	}
	cu.Add(proc.Close)
	conn, err := cfg.Keeper.Connect(ctx)
	if err != nil {
		return nil, err
	}
	holds := client.NewHolds()
	if err := conn.Keep(holds); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	loop, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &Runtime{
		cfg: cfg, facts: facts, exits: mailbox.New[ExitEvent](), holds: holds, stop: stop,
		filters: seccomp.NewCompiler(), proc: proc, containers: make(map[string]*container), execs: make(map[string]*Exec), connected: make(chan struct{}),
	}
	r.setConn(conn)
	r.tasks.Go(func() { r.follow(loop, conn) })
	cu.Release()
	return r, nil
}

// Close drops the connection and all files; containers run on. The channel of Exits is closed. It must be the last call.
func (r *Runtime) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	conn := r.conn
	r.mu.Unlock()
	r.stop()
	var errs []error
	if conn != nil {
		if err := conn.Close(); !errors.Is(err, os.ErrClosed) { // it closes itself when it is lost
			errs = append(errs, err)
		}
	}
	r.tasks.Wait()
	r.exits.Close()
	errs = append(errs, r.holds.Close(), r.proc.Close())
	r.mu.Lock()
	containers, execs := r.containers, r.execs
	r.containers, r.execs = nil, nil
	r.mu.Unlock()
	for _, e := range execs {
		errs = append(errs, e.closeFiles())
	}
	for _, c := range containers {
		errs = append(errs, c.closeFiles())
	}
	return errors.Join(errs...)
}

// Exits delivers the end of every container, once, in the order in which they were learned of. Ends that Restore returned
// are not delivered again.
func (r *Runtime) Exits() <-chan ExitEvent { return r.exits.Out() }

// client returns the connection to the keeper, waiting for one if it was lost.
func (r *Runtime) client(ctx context.Context) (*client.Client, error) {
	for {
		r.mu.Lock()
		conn, connected, closed := r.conn, r.connected, r.closed
		r.mu.Unlock()
		switch {
		case closed:
			return nil, errdefs.Unavailable("the runtime is closed")
		case conn != nil:
			return conn, nil
		}
		select {
		case <-connected:
		case <-ctx.Done():
			return nil, errdefs.Unavailable("wait for the keeper to come back: %w", ctx.Err())
		}
	}
}

// ask makes a request that may be made twice. Where the keeper dies meanwhile, its successor is asked.
func (r *Runtime) ask(ctx context.Context, request func(*client.Client) error) error {
	return r.askUnless(ctx, client.ErrLost, request)
}

// askOnce makes a request that may be made once. Where the keeper was gone before, its successor is asked.
func (r *Runtime) askOnce(ctx context.Context, request func(*client.Client) error) error {
	return r.askUnless(ctx, client.ErrNotSent, request)
}

func (r *Runtime) askUnless(ctx context.Context, lost error, request func(*client.Client) error) error {
	for {
		conn, err := r.client(ctx)
		if err != nil {
			return err
		}
		if err := request(conn); !errors.Is(err, lost) && !errors.Is(err, client.ErrNotSent) {
			return err
		}
		if err := r.awaitLoss(ctx, conn); err != nil {
			return err
		}
	}
}

// awaitLoss waits until the loss of a connection is known here as well.
func (r *Runtime) awaitLoss(ctx context.Context, conn *client.Client) error {
	r.mu.Lock()
	now, gone, closed := r.conn, r.gone, r.closed
	r.mu.Unlock()
	if now != conn || closed { // client tells which
		return nil
	}
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return errdefs.Unavailable("wait for the keeper to come back: %w", ctx.Err())
	}
}

func (r *Runtime) setConn(c *client.Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c == nil {
		r.conn, r.connected = nil, make(chan struct{})
		close(r.gone)
		return
	}
	r.conn, r.gone = c, make(chan struct{})
	close(r.connected)
}

// find returns a container.
func (r *Runtime) find(id string) (*container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.containers[id]
	if c == nil {
		return nil, errdefs.NotFound("container %s", id)
	}
	return c, nil
}
