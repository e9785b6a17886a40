package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/berth-runtime/berth/runtime/keeper/client"
)

// upgradeIfOther makes the keeper become the configured binary if it runs another file. One that does not want to goes on, which
// is no reason not to work with it.
func (s *Supervisor) upgradeIfOther(ctx context.Context, conn *client.Client) {
	same, err := s.runsOurs(conn)
	if err == nil && same {
		return
	}
	if err == nil {
		err = s.upgrade(ctx)
	}
	if err != nil {
		s.cfg.Logger.WarnContext(ctx, "the keeper is not upgraded and goes on as it is", "binary", s.cfg.Binary, "error", err)
		return
	}
	s.cfg.Logger.InfoContext(ctx, "keeper upgraded", "binary", s.cfg.Binary)
}

// runsOurs compares files, not names: a package manager puts a new file in the old one's place.
func (s *Supervisor) runsOurs(conn *client.Client) (bool, error) {
	pid, err := conn.PID()
	if err != nil {
		return false, fmt.Errorf("find the keeper's process: %w", err)
	}
	running, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		return false, fmt.Errorf("find the keeper's program: %w", err)
	}
	ours, err := os.Stat(s.cfg.Binary)
	if err != nil {
		return false, fmt.Errorf("find the configured keeper: %w", err)
	}
	return os.SameFile(running, ours), nil
}

// upgrade hands the keeper the configured binary, sealed as at a start.
func (s *Supervisor) upgrade(ctx context.Context) error {
	binary, err := client.OpenProgram(s.cfg.Binary)
	if err != nil {
		return fmt.Errorf("upgrade the keeper to %s: %w", s.cfg.Binary, err)
	}
	return errors.Join(client.Upgrade(ctx, s.cfg.Socket, binary), binary.Close())
}
