package oci

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func goodRecord() record {
	return record{
		Version: recordVersion, ID: "a", OCIVersion: "1.3.0", Bundle: "/b", Rootfs: "/b/rootfs", Cgroup: "/c/a",
		Created: time.Unix(1, 0).UTC(), Annotations: map[string]string{"k": "v"}, PID: 7, StartTime: 9, Ready: true,
	}
}

func TestRecordRoundTrip(t *testing.T) {
	want := goodRecord()
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRecord(data, "a")
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestRecordThatIsTooLargeIsNotWritten(t *testing.T) {
	r := goodRecord()
	r.Annotations = map[string]string{"k": strings.Repeat("<", maxRecord/6)} // \u003c
	if _, err := encodeRecord(r); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "annotations") {
		t.Errorf("got %v", err)
	}
}

func TestRecordIsVerified(t *testing.T) {
	for name, change := range map[string]func(*record){
		"version":         func(r *record) { r.Version = 2 },
		"another's":       func(r *record) { r.ID = "b" },
		"relative bundle": func(r *record) { r.Bundle = "b" },
		"dotted rootfs":   func(r *record) { r.Rootfs = "/b/../c" },
		"root cgroup":     func(r *record) { r.Cgroup = "/" },
		"cgroup above":    func(r *record) { r.Cgroup = "/a/../.." },
		"init's pid":      func(r *record) { r.PID = 1 },
		"negative pid":    func(r *record) { r.PID = -1 },
		"large pid":       func(r *record) { r.PID = maxPID + 1 },
		"pid of any time": func(r *record) { r.StartTime = 0 },
	} {
		r := goodRecord()
		change(&r)
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeRecord(data, "a"); !errors.Is(err, errdefs.ErrDataLoss) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	data, err := json.Marshal(goodRecord())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data, "a")
		if err != nil && !errors.Is(err, errdefs.ErrDataLoss) {
			t.Errorf("kind of %v", err)
		}
		if err == nil && (r.ID != "a" || !clean(r.Cgroup) || r.PID == 1) {
			t.Errorf("accepted %+v", r)
		}
	})
}

func FuzzDecodeSpec(f *testing.F) {
	f.Add([]byte(`{"ociVersion":"1.0.2","root":{"path":"rootfs"},"mounts":[{"destination":"x","type":"bind","source":"y"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeSpec(data, "/bundle")
		if err == nil && !strings.HasPrefix(s.Root.Path, "/") {
			t.Errorf("root %q", s.Root.Path)
		}
		if err != nil && !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("kind of %v", err)
		}
	})
}

func TestCheckID(t *testing.T) {
	for _, id := range []string{"", ".", "..", "a/b", "a b", "é", strings.Repeat("a", 256), "a\x00"} {
		if err := checkID(id); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"a", "A-b_c.d+e", "0", strings.Repeat("a", 255)} {
		if err := checkID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
}
