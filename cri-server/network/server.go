package network

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/cniwire"
)

// program is the file at a path, as long as nobody replaces it.
type program struct {
	path             string
	dev, ino         uint64
	size             int64
	modified, status syscall.Timespec
}

func identify(path string) (program, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return program{}, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return program{}, false
	}
	return program{path, st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}, true
}

// ours is where the source of berth's plugins is, as the Go toolchain notes it in programs.
const ours = "github.com/berth-runtime/berth/cni-plugins/"

// isOurs tells whether a program was built as one of berth's plugins. Others are not started in a way that CNI does not know.
func isOurs(path string) bool {
	info, err := buildinfo.ReadFile(path)
	return err == nil && strings.HasPrefix(info.Path, ours)
}

// server is a process of a plugin that serves calls, one at a time.
type server struct {
	program        program
	kill           context.CancelFunc // with its process group
	calls, replies *os.File
	stderr         *tail         // of the process itself
	ended          chan struct{} // closed once it is reaped; stderr and err are for reading then
	err            error
	timer          *time.Timer // ends a server that waits
}

// start starts a server. One that does not greet is remembered as a plugin that does not serve.
func (s *servers) start(ctx context.Context, f program, environ []string) (*server, error) {
	p, err := launch(f, environ)
	if err != nil {
		return nil, err
	}
	s.running.Go(func() { <-p.ended })
	patience, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	stop := context.AfterFunc(patience, p.kill)
	defer stop()
	if err := cniwire.ReadHello(p.replies); err != nil {
		p.end()
		if ctx.Err() == nil {
			s.note(f, false)
		}
		return nil, err
	}
	return p, nil
}

// greetTimeout is far above what the start of a program takes.
const greetTimeout = 10 * time.Second

func launch(f program, environ []string) (_ *server, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	theirs, calls, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cu.Add(calls.Close)
	defer theirs.Close() // the process has its own
	replies, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cu.Add(replies.Close)
	defer out.Close()
	ctx, kill := context.WithCancel(context.Background())
	p := &server{program: f, kill: kill, calls: calls, replies: replies, stderr: &tail{max: stderrMax}, ended: make(chan struct{})}
	cmd := command(ctx, f.path, serving(environ))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, out, p.stderr
	if err := start(cmd); err != nil {
		kill()
		return nil, err
	}
	cu.Release()
	go func() {
		defer close(p.ended)
		p.err = wait(cmd)
		kill()
	}()
	return p, nil
}

// serving is the environment of a server: CNI's variables come with each call.
func serving(environ []string) []string {
	env := []string{cniwire.Serve}
	for _, kv := range environ {
		if !strings.HasPrefix(kv, "CNI_") && kv != repairVariable {
			env = append(env, kv)
		}
	}
	return env
}

// call has the server run a call. After an error it must be ended.
func (p *server) call(c cniwire.Call) (r cniwire.Reply, err error) {
	if err = cniwire.WriteCall(p.calls, c); err == nil {
		r, err = cniwire.ReadReply(p.replies)
	}
	if err == nil {
		return r, nil
	}
	p.kill()
	<-p.ended
	return cniwire.Reply{Stderr: p.stderr.buf}, fmt.Errorf("it has not answered: %w", errors.Join(err, p.err))
}

// alive tells whether a server that waits has not ended: then its pipe is open, and empty.
func (p *server) alive() bool {
	pipe, err := p.replies.SyscallConn()
	if err != nil {
		return false
	}
	var readErr error
	err = pipe.Read(func(fd uintptr) bool {
		_, readErr = syscall.Read(int(fd), make([]byte, 1))
		return true
	})
	return err == nil && readErr == syscall.EAGAIN
}

// end kills the server, which has nothing to lose between calls, and waits for its end.
func (p *server) end() {
	p.kill()
	<-p.ended
	_, _ = p.calls.Close(), p.replies.Close() // nothing is to be read or written any more
}
