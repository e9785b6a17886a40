package pod

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// sourceTime is how long a file system may take to say where a path leads. One that hangs (NFS without its server) must
// not hold up the container's name for good; the thread that asks it is lost until it answers.
const sourceTime = 20 * time.Second

// PrepareSource makes the host path of a mount if it is missing, and returns where it leads. It refuses a propagation that
// the mount below it does not have: nothing would be propagated, and nobody told.
func (linux) PrepareSource(ctx context.Context, m spec.Mount) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, sourceTime)
	defer cancel()
	type answer struct {
		path string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		path, err := resolveLinks(m.HostPath)
		answers <- answer{path, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return "", errdefs.New(kindOfSource(a.err), "host path %s: %w", m.HostPath, a.err)
		}
		return a.path, checkPropagation(a.path, m.Propagation)
	case <-ctx.Done():
		return "", errdefs.Unavailable("host path %s: its file system does not answer: %w", m.HostPath, ctx.Err())
	}
}

func kindOfSource(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return errdefs.ErrPermission
	}
	return errdefs.ErrFailedPrecondition
}

func checkPropagation(path string, p spec.Propagation) error {
	if p == spec.PropagationPrivate {
		return nil
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("look up the mount of %s: %w", path, err)
	}
	mount, tags := mountOf(bufio.NewScanner(f), path)
	if err := f.Close(); err != nil {
		return fmt.Errorf("look up the mount of %s: %w", path, err)
	}
	shared, slave := strings.Contains(tags, "shared:"), strings.Contains(tags, "master:")
	if p == spec.PropagationBidirectional && !shared {
		return errdefs.FailedPrecondition("host path %s is on the mount %s, which is not shared: "+
			"bidirectional propagation is not possible (mount --make-shared %s)", path, mount, mount)
	}
	if !shared && !slave {
		return errdefs.FailedPrecondition("host path %s is on the mount %s, which is neither shared nor a slave: "+
			"nothing would be propagated (mount --make-shared %s)", path, mount, mount)
	}
	return nil
}

// mountOf finds in a mountinfo (proc(5)) the mount that a path without links is on, and its optional fields. The last one
// listed of equal mount points is on top.
func mountOf(lines *bufio.Scanner, path string) (mount, tags string) {
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 7 {
			continue
		}
		point := unescapeMount(fields[4])
		inside := path == point || point == "/" || strings.HasPrefix(path, point+"/")
		if !inside || len(point) < len(mount) {
			continue
		}
		mount, tags = point, ""
		for _, f := range fields[6:] {
			if f == "-" {
				break
			}
			tags += f + " "
		}
	}
	return mount, tags
}

// unescapeMount undoes the kernel's octal escapes of blanks and backslashes.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
