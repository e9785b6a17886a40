package container

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/keeper/client"
	"github.com/berth-runtime/berth/runtime/seccomp/agent"
)

// startProcess has the keeper start a process. If its filter has a listener, that goes to the agent of the profile while
// the program runs: the agent may have to answer for its execve already.
func (r *Runtime) startProcess(ctx context.Context, c *container, req client.StartRequest, status specs.ContainerState) (client.Started, error) {
	filter, err := r.filters.Compile(c.profile())
	if err != nil {
		return client.Started{}, err
	}
	if filter == nil || !filter.Listener {
		return r.startOnce(ctx, req)
	}
	here, there, err := sys.SeqpacketPair()
	if err != nil {
		return client.Started{}, fmt.Errorf("make a socket for the seccomp listener: %w", err)
	}
	handed := make(chan error, 1)
	go func() { handed <- c.handOver(ctx, here, status) }()
	req.Listener = there
	started, err := r.startOnce(ctx, req)
	err = errors.Join(err, there.Close()) // the other side ends, if nothing has come
	handErr := <-handed
	if err == nil && handErr != nil {
		return client.Started{}, errors.Join(handErr, here.Close(), started.Pidfd.Close())
	}
	if !errors.Is(handErr, errNoListener) {
		err = errors.Join(err, handErr)
	}
	return started, errors.Join(err, here.Close())
}

func (r *Runtime) startOnce(ctx context.Context, req client.StartRequest) (started client.Started, err error) {
	err = r.askOnce(ctx, func(k *client.Client) error {
		started, err = k.Start(ctx, req)
		return err
	})
	return started, err
}

var errNoListener = errdefs.New(errdefs.ErrInvalid, "linux.seccomp: the filter keeps the process from reporting its listener (write)")

// handOver waits for the listener and sends it to the agent.
func (c *container) handOver(ctx context.Context, from *sys.Seqpacket, status specs.ContainerState) error {
	profile, state := c.agentState(status)
	buf := make([]byte, sys.PacketBuffer(8))
	err := from.Receive(func(use func([]byte)) { use(buf) }, func(p sys.Packet) (err error) {
		data, files := p.Data, p.Files
		if len(data) != 4 || len(files) != 1 {
			return errors.Join(errdefs.Bug("%d bytes and %d files in place of a seccomp listener", len(data), len(files)), sys.CloseRaw(files))
		}
		listener := files[0].File("seccomp listener")
		defer func() { err = errors.Join(err, listener.Close()) }()
		state.Pid = int(binary.LittleEndian.Uint32(data))
		if state.State.Pid == 0 {
			state.State.Pid = state.Pid // the container's first
		}
		return agent.Send(ctx, profile.ListenerPath, state, listener)
	})
	if errors.Is(err, io.EOF) {
		return errNoListener
	}
	return err
}

// agentState returns the container's profile, and what the agent is told but for the process's PID.
func (c *container) agentState(status specs.ContainerState) (*specs.LinuxSeccomp, specs.ContainerProcessState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seccomp, specs.ContainerProcessState{
		Metadata: c.seccomp.ListenerMetadata,
		State:    specs.State{ID: c.id, Status: status, Pid: c.pid, Annotations: c.annotations},
	}
}
