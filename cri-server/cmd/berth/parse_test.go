package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestParsePort(t *testing.T) {
	for in, want := range map[string]*cri.PortMapping{
		"8080:80":               {HostPort: 8080, ContainerPort: 80},
		"8080:80/tcp":           {HostPort: 8080, ContainerPort: 80},
		"127.0.0.1:8080:80/udp": {HostPort: 8080, ContainerPort: 80, HostIp: "127.0.0.1", Protocol: cri.Protocol_UDP},
		"[::1]:53:5353/sctp":    {HostPort: 53, ContainerPort: 5353, HostIp: "::1", Protocol: cri.Protocol_SCTP},
		"0.0.0.0:1:65535":       {HostPort: 1, ContainerPort: 65535, HostIp: "0.0.0.0"},
	} {
		got, err := parsePort(in)
		if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s: %v %s", in, err, diff)
		}
	}
	for in, want := range map[string]string{
		"80":              "CRI cannot choose one",
		"127.0.0.1::80":   "the node's port",
		":80":             "the node's port",
		"8080:":           "the container's port",
		"0:80":            "the node's port",
		"70000:80":        "the node's port",
		"8080-8090:80":    "the node's port",
		"x:8080:80":       "the address",
		"8080:80/icmp":    "the protocol",
		"":                "CRI cannot choose one",
		"localhost:80:80": "the address",
		"1:2:3:4":         "the address",
		"+80:80":          "the node's port",
	} {
		if _, err := parsePort(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", in, err, want)
		}
	}
}

func TestPortText(t *testing.T) {
	for _, text := range []string{"8080->80/tcp", "127.0.0.1:8080->80/udp", "[::1]:53->5353/sctp"} {
		m, err := parsePort(strings.Replace(text, "->", ":", 1))
		if err != nil || portText(m) != text {
			t.Errorf("%s: got %q, %v", text, portText(m), err)
		}
	}
}

func FuzzParsePort(f *testing.F) {
	f.Add("127.0.0.1:8080:80/udp")
	f.Add("[fe80::1%eth0]:1:2")
	f.Fuzz(func(t *testing.T, in string) {
		m, err := parsePort(in)
		if err != nil {
			return
		}
		if m.GetHostPort() < 1 || m.GetHostPort() > 65535 || m.GetContainerPort() < 1 || m.GetContainerPort() > 65535 {
			t.Fatalf("%q became %v", in, m)
		}
		again, err := parsePort(strings.Replace(portText(m), "->", ":", 1))
		if diff := cmp.Diff(m, again, protocmp.Transform()); err != nil || diff != "" {
			t.Fatalf("%q became %v, which became %v: %v", in, m, again, err)
		}
	})
}

func TestParseVolume(t *testing.T) {
	t.Chdir("/tmp")
	const shared, slave = cri.MountPropagation_PROPAGATION_BIDIRECTIONAL, cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	for in, want := range map[string]*cri.Mount{
		"/a:/b":             {HostPath: "/a", ContainerPath: "/b"},
		"/a:/b:ro":          {HostPath: "/a", ContainerPath: "/b", Readonly: true},
		"/a:/b:rro":         {HostPath: "/a", ContainerPath: "/b", Readonly: true, RecursiveReadOnly: true},
		"/a:/b:rw,rshared":  {HostPath: "/a", ContainerPath: "/b", Propagation: shared},
		"/a:/b:ro,rslave":   {HostPath: "/a", ContainerPath: "/b", Readonly: true, Propagation: slave},
		"./x:/b":            {HostPath: "/tmp/x", ContainerPath: "/b"},
		"../x/../y:/b:ro":   {HostPath: "/y", ContainerPath: "/b", Readonly: true},
		".:/b":              {HostPath: "/tmp", ContainerPath: "/b"},
		"/with blank:/ b/c": {HostPath: "/with blank", ContainerPath: "/ b/c"},
	} {
		got, err := parseVolume(in)
		if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s: %v %s", in, err, diff)
		}
	}
	for in, want := range map[string]string{
		"/a": "two or three parts", "/a:/b:ro:x": "two or three parts", ":/b": "source is empty", "data:/b": "write ./data",
		"/a:b": "not an absolute path", "/a:": "not an absolute path", "/a:/b:z": `option "z" is unknown`, "": "two or three parts",
	} {
		if _, err := parseVolume(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", in, err, want)
		}
	}
}

func FuzzParseVolume(f *testing.F) {
	f.Add("/a:/b:ro,rshared")
	f.Add("./x:/y")
	f.Fuzz(func(t *testing.T, in string) {
		m, err := parseVolume(in)
		if err == nil && (!strings.HasPrefix(m.GetHostPath(), "/") || !strings.HasPrefix(m.GetContainerPath(), "/")) {
			t.Fatalf("%q became %v", in, m)
		}
	})
}

func TestParseEnv(t *testing.T) {
	t.Setenv("BERTH_TEST_SET", "v")
	got, err := parseEnv([]string{"A=b=c", "EMPTY=", "BERTH_TEST_SET", "BERTH_TEST_NOT_SET"})
	want := []*cri.KeyValue{{Key: "A", Value: []byte("b=c")}, {Key: "EMPTY", Value: []byte{}}, {Key: "BERTH_TEST_SET", Value: []byte("v")}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	if _, err := parseEnv([]string{"=x"}); err == nil {
		t.Fatal("a variable without a name")
	}
}

func TestBytesOf(t *testing.T) {
	for in, want := range map[string]int64{"1": 1, "512m": 512 << 20, "1G": 1 << 30, "64KiB": 64 << 10, "5b": 5, "2gb": 2 << 30} {
		if got, err := bytesOf(in); got != want || err != nil {
			t.Errorf("%s: got %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "m", "-1", "0", "1x", "1mm", "1.5g", "9999999999g", "0x10"} {
		if got, err := bytesOf(in); err == nil {
			t.Errorf("%s: got %d", in, got)
		}
	}
}

func TestUserOf(t *testing.T) {
	for in, want := range map[string]*cri.LinuxContainerSecurityContext{
		"":         {},
		"1000":     {RunAsUser: &cri.Int64Value{Value: 1000}},
		"0:5":      {RunAsUser: &cri.Int64Value{}, RunAsGroup: &cri.Int64Value{Value: 5}},
		"nobody":   {RunAsUsername: "nobody"},
		"nobody:7": {RunAsUsername: "nobody", RunAsGroup: &cri.Int64Value{Value: 7}},
	} {
		got := &cri.LinuxContainerSecurityContext{}
		err := userOf(in, got)
		if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s: %v %s", in, err, diff)
		}
	}
	if err := userOf("a:staff", &cri.LinuxContainerSecurityContext{}); err == nil {
		t.Error("a group's name passed")
	}
}

func TestNameFromImage(t *testing.T) {
	for in, want := range map[string]string{
		"nginx": "nginx-u", "docker.io/library/nginx:1.2": "nginx-u", "localhost:5000/a/b_c@sha256:abc": "b_c-u", "sha256:abc": "berth-u", "x/": "x-u", "": "berth-u",
	} {
		if got := nameFromImage(in, "u"); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
