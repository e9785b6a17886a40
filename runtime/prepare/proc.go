package prepare

import (
	"errors"
	"fmt"
	"os"

	"github.com/berth-runtime/berth/internal/sys"
)

// OpenProc mounts a procfs of the own PID namespace, which shows the processes in those below as well, and attaches it nowhere: nobody
// can mount anything over what is in it. The mount lasts as long as the file, whose last close waits for an RCU grace period.
func OpenProc() (_ *os.File, err error) {
	fs, err := sys.Fsopen("proc")
	if err != nil {
		return nil, fmt.Errorf("open procfs: %w", err)
	}
	defer func() { err = errors.Join(err, fs.Close()) }()
	proc, err := fs.Mount("procfs", sys.MountNosuid|sys.MountNodev|sys.MountNoexec)
	if err != nil {
		return nil, fmt.Errorf("mount procfs: %w", err)
	}
	return proc, nil
}
