package testutil

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/nftables"
)

// settleTime is how long goroutines that were told to end may take to do so.
const settleTime = 3 * time.Second

// inventory counts what a process and its namespaces hold, each thing by a line that names it.
type inventory map[string]int

// takeInventory lists open files, goroutines, and, in namespaces of our own, mounts, links and nft tables.
func takeInventory() (inventory, error) {
	inv := inventory{}
	err := errors.Join(inv.addFiles(), inv.addChildren())
	inv.addGoroutines()
	if os.Getenv(envInner) != "" {
		err = errors.Join(err, inv.addMounts(), inv.addLinks(), inv.addTables())
	}
	return inv, err
}

// settle takes inventories until one holds no more than before, and returns what is left over.
func settle(before inventory) ([]string, error) {
	for deadline := time.Now().Add(settleTime); ; time.Sleep(10 * time.Millisecond) {
		runtime.GC() // finalizers close files that a test dropped on a failure path; os.File without an owner is not our leak
		after, err := takeInventory()
		if err != nil {
			return nil, err
		}
		leaks := after.beyond(before)
		if len(leaks) == 0 || time.Now().After(deadline) {
			return leaks, nil
		}
	}
}

// beyond lists what inv holds more than before.
func (inv inventory) beyond(before inventory) []string {
	var leaks []string
	for _, line := range slices.Sorted(maps.Keys(inv)) {
		if n := inv[line] - before[line]; n > 0 {
			leaks = append(leaks, fmt.Sprintf("%d × %s", n, line))
		}
	}
	return leaks
}

func (inv inventory) addFiles() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil {
			continue // the descriptor of this very listing
		}
		switch {
		case target == "anon_inode:[eventpoll]", target == "anon_inode:[eventfd]": // Go's network poller, made on first use
		case strings.HasPrefix(target, "/proc/") && strings.HasSuffix(target, "/fd"):
		default:
			inv["open file "+anonymous(target)]++
		}
	}
	return nil
}

// anonymous takes the number out of "socket:[1234]", so that a socket closed and another opened count as the same.
func anonymous(target string) string {
	for _, kind := range []string{"socket:", "pipe:"} {
		if strings.HasPrefix(target, kind) {
			return kind + "[…]"
		}
	}
	return target
}

func (inv inventory) addChildren() error {
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return err
	}
	for _, list := range lists {
		data, err := os.ReadFile(list)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a thread may end meanwhile
			return err
		}
		for pid := range strings.FieldsSeq(string(data)) {
			inv["child process "+describeProcess(pid)]++
		}
	}
	return nil
}

func describeProcess(pid string) string {
	cmdline, _ := os.ReadFile("/proc/" + pid + "/cmdline") // gone or a zombie: the name says enough
	comm, _ := os.ReadFile("/proc/" + pid + "/comm")
	return fmt.Sprintf("%s (%s: %s)", pid, bytes.TrimSpace(comm), bytes.TrimSpace(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
}

// addGoroutines counts goroutines by the function that started them; the test framework's own are left out.
func (inv inventory) addGoroutines() {
	buf := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		switch {
		case strings.Contains(stack, "testutil.takeInventory"),
			strings.Contains(stack, "testing.(*M).startAlarm"),
			strings.Contains(stack, "os/signal.loop"),
			strings.Contains(stack, "os/signal.signal_recv"),
			strings.Contains(stack, "runtime.ensureSigM"):
			continue
		}
		if _, creator, ok := strings.Cut(stack, "created by "); ok {
			creator, _, _ = strings.Cut(creator, "\n")
			creator, _, _ = strings.Cut(creator, " in goroutine")
			inv["goroutine started by "+creator]++
		}
	}
}

func (inv inventory) addMounts() error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 4 {
			inv["mount on "+f[4]]++
		}
	}
	return nil
}

func (inv inventory) addLinks() error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, l := range links {
		inv["link "+l.Name]++
	}
	return nil
}

func (inv inventory) addTables() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	tables, err := conn.ListTables()
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.EPROTONOSUPPORT) || errors.Is(err, syscall.EINVAL) {
		return nil // a kernel without nf_tables holds none
	}
	if err != nil {
		return fmt.Errorf("list nft tables: %w", err)
	}
	for _, t := range tables {
		inv[fmt.Sprintf("nft table %d %s", t.Family, t.Name)]++
	}
	return nil
}
