package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// workload is the program that the measured containers run; its memory is not the runtime's.
const workload = "sleep"

// idleAfter is how long runtimes may take to notice that nothing happens, and to give back what they keep in case that more does.
const idleAfter = 4 * time.Second

// settledMemory sums the PSS of the idle runtime's processes when two readings, half a second apart, agree within one per cent.
func settledMemory(ctx context.Context) (int64, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(idleAfter):
	}
	last := int64(-1)
	for range 20 {
		now, err := runtimeMemory()
		if err != nil {
			return 0, err
		}
		if diff := now - last; last >= 0 && diff*100 < now && -diff*100 < now {
			return now, nil
		}
		last = now
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
	return last, nil
}

// runtimeMemory sums the proportional set sizes (PSS) of all processes below this program's parent, which inherits every
// process that a daemon leaves, without this program and the workload.
func runtimeMemory() (int64, error) {
	parents, names, err := processTable()
	if err != nil {
		return 0, err
	}
	root, self := os.Getppid(), os.Getpid()
	var sum int64
	for pid := range parents {
		if pid == self || pid == root || names[pid] == workload || !descends(parents, pid, root) {
			continue
		}
		n, err := pss(pid)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func descends(parents map[int]int, pid, root int) bool {
	for pid > 1 {
		pid = parents[pid]
		if pid == root {
			return true
		}
	}
	return false
}

// processTable reads every process's parent and name.
func processTable() (parents map[int]int, names map[int]string, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, nil, err
	}
	parents, names = map[int]int{}, map[int]string{}
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		head, rest, ok := strings.Cut(string(data), ") ")
		number, name, nameOK := strings.Cut(head, " (")
		fields := strings.Fields(rest)
		if !ok || !nameOK || len(fields) < 2 {
			return nil, nil, fmt.Errorf("%s: %q", path, data)
		}
		pid, pidErr := strconv.Atoi(number)
		parent, parentErr := strconv.Atoi(fields[1])
		if pidErr != nil || parentErr != nil {
			return nil, nil, fmt.Errorf("%s: %q", path, data)
		}
		parents[pid], names[pid] = parent, name
	}
	return parents, names, nil
}

// pss reads a process's proportional set size, in bytes.
func pss(pid int) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "Pss:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, os.ErrNotExist // a zombie has no memory
}
