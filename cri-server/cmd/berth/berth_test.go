package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/spf13/pflag"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/cri-server/cmd/berth/internal/crilog"
	"github.com/berth-runtime/berth/internal/errdefs"
)

func TestRunBuildsRequests(t *testing.T) {
	var o runOptions
	f := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.SetInterspersed(false)
	o.flags(f)
	err := f.Parse(strings.Fields("-it --name my_web.1 -p 8080:80 -p 127.0.0.1:53:53/udp -e A=b -v /a:/b:ro -w /w -u 5:6 -m 64m --cpus 1.5 " +
		"--entrypoint /e --cap-add NET_ADMIN --label x=y image cmd -t"))
	if err != nil {
		t.Fatal(err)
	}
	o.image, o.args = f.Arg(0), f.Args()[1:]
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	req, err := o.build("uid")
	if err != nil {
		t.Fatal(err)
	}
	pod, c := req.pod, req.container
	if pod.GetHostname() != "my-web-1" || len(pod.GetPortMappings()) != 2 ||
		pod.GetAnnotations()[annotationPorts] != "8080->80/tcp, 127.0.0.1:53->53/udp" || pod.GetLabels()["x"] != "y" || pod.GetLabels()[labelName] != "my_web.1" {
		t.Errorf("pod: %v", pod)
	}
	sc := c.GetLinux().GetSecurityContext()
	if c.GetCommand()[0] != "/e" || strings.Join(c.GetArgs(), " ") != "cmd -t" || !c.GetTty() || !c.GetStdin() || c.GetStdinOnce() ||
		sc.GetRunAsUser().GetValue() != 5 || sc.GetNamespaceOptions().GetPid() != cri.NamespaceMode_CONTAINER ||
		c.GetLinux().GetResources().GetCpuQuota() != 150000 || c.GetLinux().GetResources().GetMemoryLimitInBytes() != 64<<20 {
		t.Errorf("container: %v", c)
	}
}

func TestRunRefusesWhatCannotBe(t *testing.T) {
	for _, o := range []runOptions{
		{network: "none", pull: "missing"},
		{network: "host", pull: "missing", ports: []string{"80:80"}},
		{network: "default", pull: "maybe"},
		{network: "default", pull: "missing", name: "-x"},
		{network: "default", pull: "missing", name: "a/b"},
	} {
		if err := o.check(); err == nil {
			t.Errorf("%+v passed", o)
		}
	}
}

func TestChoose(t *testing.T) {
	list := []*cri.Container{
		{Id: "aaa1", Labels: map[string]string{labelName: "web"}, Metadata: &cri.ContainerMetadata{Name: "web"}},
		{Id: "aaa2", Labels: map[string]string{labelPodName: "pod"}, Metadata: &cri.ContainerMetadata{Name: "c"}},
		{Id: "bbb", Labels: map[string]string{labelName: "aaa1"}, Metadata: &cri.ContainerMetadata{Name: "x"}},
	}
	for ref, want := range map[string]string{"web": "aaa1", "aaa1": "aaa1", "aaa2": "aaa2", "b": "bbb", "pod/c": "aaa2"} {
		if got, err := choose(list, ref); err != nil || got.GetId() != want {
			t.Errorf("%s: got %v, %v", ref, got, err)
		}
	}
	for ref, kind := range map[string]error{"aaa": errdefs.ErrInvalid, "c": errdefs.ErrNotFound, "": errdefs.ErrInvalid} {
		if _, err := choose(list, ref); !errors.Is(err, kind) {
			t.Errorf("%s: got %v", ref, err)
		}
	}
}

func TestPrinterWritesWhatTheContainerWrote(t *testing.T) {
	var out, errOut bytes.Buffer
	p := printer{out: &out, errOut: &errOut, times: true}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, l := range []crilog.Line{
		{Time: at, Content: []byte("long "), Full: false},
		{Time: at, Content: []byte("oops"), Full: true, Stderr: true},
		{Time: at, Content: []byte("line"), Full: true},
		{Time: at, Content: []byte("no end"), Full: false},
	} {
		if err := p.print(l); err != nil {
			t.Fatal(err)
		}
	}
	const stamp = "2026-01-02T03:04:05Z "
	if out.String() != stamp+"long line\n"+stamp+"no end" || errOut.String() != stamp+"oops\n" {
		t.Fatalf("got %q and %q", out.String(), errOut.String())
	}
}

func TestDetacher(t *testing.T) {
	for in, want := range map[string]struct {
		keys string
		left bool
	}{
		"hello":               {"hello", false},
		"a\x10b":              {"a\x10b", false},
		"a\x10\x11b":          {"a", true},
		"a\x10\x10\x11b":      {"a\x10", true},
		"\x11\x10":            {"\x11", false},
		"x\x10y\x10\x10z\x11": {"x\x10y\x10\x10z\x11", false},
	} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "key by key": iotest.OneByteReader,
		} {
			left := false
			d := &detacher{r: wrap(strings.NewReader(in)), left: func() { left = true }}
			var got []byte
			for buf := make([]byte, 8); !left; {
				n, err := d.Read(buf)
				got = append(got, buf[:n]...)
				if err != nil {
					break
				}
			}
			if string(got) != want.keys || left != want.left {
				t.Errorf("%q %s: got %q, %v", in, name, got, left)
			}
		}
	}
}

func TestTextsForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 999: "999B", 1000: "1kB", 2390000: "2.39MB", 999499: "999kB", 999600: "1MB", 5_300_000_000: "5.3GB"} {
		if got := size(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "less than a second", time.Second: "1 second", 59 * time.Second: "59 seconds", 61 * time.Second: "1 minute",
		90 * time.Minute: "1 hour", 47 * time.Hour: "47 hours", 49 * time.Hour: "2 days",
	} {
		if got := ago(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
	if got := progressLine("x", pullProgress{Done: 5_000_000, Total: 20_000_000}, 0); got != "pulling x: 5MB of 20MB (25%)" {
		t.Error(got)
	}
	long := "registry.example.org/" + strings.Repeat("a", 80) + "/name:tag"
	for _, width := range []int{1, 5, 12, 30, 80} {
		got := progressLine(long, pullProgress{Stage: "layers"}, width)
		if n := len([]rune(got)); n >= width && width > 0 {
			t.Errorf("%d columns: %d characters: %q", width, n, got)
		}
		if width >= 30 && !strings.HasSuffix(got, "name:tag: layers") {
			t.Errorf("%d columns: %q", width, got)
		}
	}
	if got := progressLine("x", pullProgress{Stage: "resolve"}, 80); got != "pulling x: resolve" {
		t.Error(got)
	}
}

func TestOwnLogs(t *testing.T) {
	labels := map[string]string{labelName: "web", labelPodUID: "u"}
	if got := ownLogs("/var/logs/web_u/0.log", labels); got != "/var/logs/web_u" {
		t.Errorf("got %q", got)
	}
	for _, path := range []string{"", "/etc/passwd", "/var/logs/web_u/x/0.log"} {
		if got := ownLogs(path, labels); got != "" {
			t.Errorf("%s: %q would be removed", path, got)
		}
	}
}
