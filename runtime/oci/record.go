package oci

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// record is what is known of a container besides its configuration.
type record struct {
	Version     int               `json:"version"`
	ID          string            `json:"id"`
	OCIVersion  string            `json:"ociVersion"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Cgroup      string            `json:"cgroup"`
	Systemd     bool              `json:"systemd,omitempty"` // made the group
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`

	PID       int    `json:"pid,omitempty"`       // 0 until there is a process
	StartTime uint64 `json:"startTime,omitempty"` // of that process: with its number it stands for no other
	Ready     bool   `json:"ready,omitempty"`     // create has done its part
}

const (
	recordVersion = 1
	maxRecord     = 1 << 20
	maxPID        = 1 << 22 // PID_MAX_LIMIT
)

// encodeRecord refuses what could not be read again: the container would be out of everybody's reach.
func encodeRecord(r record) ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if len(data) > maxRecord { // all else is short
		return nil, errdefs.Invalid("annotations: with them the container's record has %d bytes, more than %d", len(data), maxRecord)
	}
	return data, nil
}

// decodeRecord trusts nothing: a record may have been cut short or changed.
func decodeRecord(data []byte, id string) (record, error) {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return r, errdefs.New(errdefs.ErrDataLoss, "%w", err)
	}
	bad := ""
	switch {
	case r.Version != recordVersion:
		bad = fmt.Sprintf("version %d", r.Version)
	case r.ID != id:
		bad = fmt.Sprintf("id %.100q", r.ID)
	case !clean(r.Bundle) || !clean(r.Rootfs):
		bad = fmt.Sprintf("bundle %.100q, rootfs %.100q", r.Bundle, r.Rootfs)
	case !clean(r.Cgroup) || r.Cgroup == "/":
		bad = fmt.Sprintf("cgroup %.100q", r.Cgroup)
	case r.PID < 0 || r.PID > maxPID || r.PID == 1 || (r.PID == 0) != (r.StartTime == 0):
		bad = fmt.Sprintf("pid %d", r.PID)
	}
	if bad != "" {
		return record{}, errdefs.New(errdefs.ErrDataLoss, "%s is not what was written", bad)
	}
	return r, nil
}

func clean(path string) bool { return filepath.IsAbs(path) && filepath.Clean(path) == path }
