package main

import (
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

func keys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

// reserved returns the file in which an address stands as taken: a file with its name, as the CNI project's host-local has it, or a
// line that begins with it.
func (e *env) reserved(address string) (string, error) {
	found := ""
	err := filepath.WalkDir(filepath.Join(e.dir, "ipam"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if d.Name() == address {
			found = path
		}
		data, err := os.ReadFile(path)
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, address+" ") {
				found = path
			}
		}
		return err
	})
	if err == nil && found == "" {
		err = fmt.Errorf("%s is not reserved", address)
	}
	return found, err
}

// nothingReserved says what is wrong if any address of the cases' subnets is still taken.
func (e *env) nothingReserved() error {
	for i := 2; i < 100; i++ {
		address := fmt.Sprintf("10.9.0.%d", i)
		if path, err := e.reserved(address); err == nil {
			return fmt.Errorf("address %s is still reserved in %s", address, path)
		}
	}
	return nil
}

// onlyLinks waits until the host has these links and no others; the kernel deletes a link a little after its namespace.
func (e *env) onlyLinks(want ...string) error {
	updates, done := make(chan netlink.LinkUpdate, 64), make(chan struct{})
	var subscribeErr error
	err := e.host.Do(func() error {
		subscribeErr = netlink.LinkSubscribe(updates, done)
		return subscribeErr
	})
	if err != nil {
		close(done)
		return err
	}
	defer func() {
		close(done)
		for range updates { // whoever fills the channel ends when it has room, and closes it
		}
	}()
	deadline := time.After(answerTime)
	for {
		have, err := links(e.host)
		if err != nil {
			return err
		}
		if slices.Equal(have, want) {
			return nil
		}
		select {
		case <-updates:
		case <-deadline:
			return fmt.Errorf("the host has the links %v, want %v", have, want)
		}
	}
}
