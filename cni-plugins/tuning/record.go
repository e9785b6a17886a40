package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-runtime/berth/cni-plugins/internal/bounded"
	"github.com/berth-runtime/berth/cni-plugins/internal/plugin"
	"github.com/berth-runtime/berth/internal/atomicfile"
	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/netns"
)

// record says what was there before an ADD.
type record struct {
	Namespace string `json:"namespace"` // the boot and the cookie, so that no other namespace gets these values
	Before    values `json:"before"`
}

const recordMax = 4 << 20 // bytes

// folder holds the records of one network.
type folder string

func folderOf(dataDir, network string) folder { return folder(filepath.Join(dataDir, network)) }

// name is that of an attachment's file. Neither a container's nor a link's name may hold a colon.
func name(containerID, ifName string) string { return containerID + ":" + ifName + ".json" }

func (f folder) path(r *plugin.Request) string {
	return filepath.Join(string(f), name(r.ContainerID, r.IfName))
}

// load returns the record of an attachment, nil if there is none or it tells of another namespace. A damaged one gives ErrDataLoss.
func (f folder) load(r *plugin.Request, namespace string) (*record, error) {
	data, err := bounded.Record(f.path(r), recordMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read values of before: %w", err)
	}
	rec, err := decodeRecord(data, r.IfName)
	if err != nil {
		return nil, errdefs.New(errdefs.ErrDataLoss, "%s is damaged, remove it: %w", f.path(r), err)
	}
	if rec.Namespace != namespace {
		return nil, nil // an earlier container of that name, whose DEL never came
	}
	return rec, nil
}

// decodeRecord reads a record; what it says is checked like a configuration.
func decodeRecord(data []byte, ifName string) (*record, error) {
	var rec record
	if err := json.Unmarshal(data, &rec); err != nil {
		return nil, err
	}
	return &rec, rec.Before.check(ifName)
}

// save replaces the record.
func (f folder) save(r *plugin.Request, rec record) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return errdefs.Bug("encode values of before: %w", err)
	}
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return fmt.Errorf("make folder for values of before: %w", err)
	}
	return atomicfile.Write(f.path(r), data, 0o600)
}

func (f folder) remove(r *plugin.Request) error {
	if err := os.Remove(f.path(r)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove values of before: %w", err)
	}
	return nil
}

// collect removes all records but those of valid attachments, and what a killed ADD left half written. GC runs alone.
func (f folder) collect(valid []plugin.Attachment) error {
	entries, err := os.ReadDir(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list values of before: %w", err)
	}
	keep := map[string]bool{}
	for _, a := range valid {
		keep[name(a.ContainerID, a.IfName)] = true
	}
	var errs []error
	for _, e := range entries {
		if !keep[e.Name()] {
			errs = append(errs, os.Remove(filepath.Join(string(f), e.Name())))
		}
	}
	if len(keep) == 0 && errors.Join(errs...) == nil {
		errs = append(errs, os.Remove(string(f)))
	}
	return errors.Join(errs...)
}

// identify names a namespace such that no other one has the same name, not even after a reboot.
func identify(ns *netns.Handle) (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("identify the network namespace: %w", err)
	}
	cookie, err := ns.Cookie()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s/%d", strings.TrimSpace(string(boot)), cookie), nil
}

// earliest adds to the values of now those of an earlier record, which count: they are from before the first change.
func earliest(now, earlier values) values {
	if earlier.MAC != "" {
		now.MAC = earlier.MAC
	}
	if earlier.MTU != 0 {
		now.MTU = earlier.MTU
	}
	if earlier.Promisc != nil {
		now.Promisc = earlier.Promisc
	}
	if earlier.AllMulti != nil {
		now.AllMulti = earlier.AllMulti
	}
	if earlier.TxQLen != nil {
		now.TxQLen = earlier.TxQLen
	}
	for _, s := range earlier.Sysctls {
		now.Sysctls = now.Sysctls.with(s)
	}
	return now
}
