package testutil

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// outerLeaks lists, and then removes, what the tests left outside of their own process: processes, temporary files, cgroups.
func outerLeaks(tmp, cgroup string) ([]string, error) {
	leaks, err := reapLost()
	files, readErr := os.ReadDir(tmp)
	for _, f := range files {
		leaks = append(leaks, "temporary file "+filepath.Join(tmp, f.Name()))
	}
	groups, groupErr := leftoverCgroups(cgroup)
	for _, g := range groups {
		leaks = append(leaks, "cgroup "+g)
		err = errors.Join(err, os.Remove(g))
	}
	return leaks, errors.Join(err, readErr, groupErr)
}

// reapLost reaps the processes that the tests lost to their sub-reaper. Those that still live are killed and reported.
func reapLost() ([]string, error) {
	var leaks []string
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.ECHILD):
			return leaks, nil
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return leaks, fmt.Errorf("reap lost processes: %w", err)
		case pid == 0: // there are children, and they live
			inv := inventory{}
			if err := inv.addChildren(); err != nil {
				return leaks, err
			}
			leaks = append(leaks, inv.beyond(nil)...)
			if err := killAndReap(inv); err != nil {
				return leaks, err
			}
		}
	}
}

func killAndReap(children inventory) error {
	for line := range children {
		pid, err := strconv.Atoi(strings.Fields(strings.TrimPrefix(line, "child process "))[0])
		if err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill %s: %w", line, err)
		}
		if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
			return fmt.Errorf("reap %s: %w", line, err)
		}
	}
	return nil
}

// leftoverCgroups finds folders of the given name in all cgroup hierarchies, the deepest first so that they can be removed
// in order.
func leftoverCgroups(name string) ([]string, error) {
	roots, err := filepath.Glob("/sys/fs/cgroup/*/" + name)
	if err != nil {
		return nil, err
	}
	roots = append(roots, "/sys/fs/cgroup/"+name)
	var found []string
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && d.IsDir() {
				found = append(found, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Reverse(found)
	return found, nil
}
