package hosts_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/imagestore/hosts"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// write makes a certs folder with one file.
func write(t *testing.T, folder, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, folder, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// brief is what the tables compare.
type brief struct {
	Base, NS               string
	Resolve, Pull, Trusted bool
}

func briefs(list []hosts.Host) []brief {
	var out []brief
	for _, h := range list {
		out = append(out, brief{h.Scheme + "://" + h.Addr + h.Path, h.Namespace, h.Resolve, h.Pull, h.Trusted})
	}
	return out
}

func TestWithoutConfiguration(t *testing.T) {
	for registry, want := range map[string]string{
		"docker.io":       "https://registry-1.docker.io/v2",
		"quay.io":         "https://quay.io/v2",
		"r.corp:5000":     "https://r.corp:5000/v2",
		"localhost":       "http://localhost/v2",
		"127.9.0.1:80":    "http://127.9.0.1:80/v2",
		"localhost:5000":  "://localhost:5000/v2",
		"[::1]:5000":      "://[::1]:5000/v2",
		"127.0.0.1:443":   "https://127.0.0.1:443/v2",
		"128.0.0.1:5000":  "https://128.0.0.1:5000/v2",
		"localhost.x:500": "https://localhost.x:500/v2",
	} {
		list, err := hosts.Load(t.TempDir(), registry)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]brief{{want, "", true, true, true}}, briefs(list)); diff != "" {
			t.Errorf("%s: %s", registry, diff)
		}
	}
}

func TestOrderAndCapabilities(t *testing.T) {
	dir := write(t, "docker.io", "hosts.toml", `
server = "https://docker.io"
[host."https://z.example"]
  capabilities = ["pull"]
  dial_timeout = "2s"
[host."http://a.example:5000/x/"]
  skip_verify = true
[host."http://a.example:5000/x/".header]
  x-one = "1"
  x-two = ["2", "3"]
[host."https://m.example/v2/sub"]
  override_path = true
  capabilities = ["pull", "resolve", "push"]
`)
	list, err := hosts.Load(dir, "docker.io")
	if err != nil {
		t.Fatal(err)
	}
	want := []brief{
		{"https://z.example/v2", "docker.io", false, true, false},
		{"http://a.example:5000/x/v2", "docker.io", true, true, false},
		{"https://m.example/v2/sub", "docker.io", true, true, false},
		{"https://registry-1.docker.io/v2", "", true, true, true},
	}
	if diff := cmp.Diff(want, briefs(list)); diff != "" {
		t.Error(diff)
	}
	if list[0].DialTimeout != 2*time.Second || !list[1].TLS.InsecureSkipVerify || list[2].TLS.InsecureSkipVerify {
		t.Errorf("settings lost: %+v", list)
	}
	if diff := cmp.Diff(http.Header{"X-One": {"1"}, "X-Two": {"2", "3"}}, list[1].Header); diff != "" {
		t.Error(diff)
	}
}

func TestServerTrust(t *testing.T) {
	const text = `server = "http://10.0.0.1:5000"`
	for folder, trusted := range map[string]bool{"r.corp": true, "_default": false} {
		list, err := hosts.Load(write(t, folder, "hosts.toml", text), "r.corp")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]brief{{"http://10.0.0.1:5000/v2", "r.corp", true, true, trusted}}, briefs(list)); diff != "" {
			t.Errorf("%s: %s", folder, diff)
		}
	}
}

func TestFolderNames(t *testing.T) {
	for _, folder := range []string{"r.corp:5000", "r.corp_5000_", "_default"} {
		list, err := hosts.Load(write(t, folder, "hosts.toml", `[host."https://m"]`), "r.corp:5000")
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 2 || list[0].Addr != "m" || list[1].Addr != "r.corp:5000" {
			t.Errorf("%s: %v", folder, list)
		}
	}
}

func TestRefusesWhatItDoesNotUnderstand(t *testing.T) {
	for text, want := range map[string]string{
		"skipverify = true":                          `line 1: unknown key "skipverify"`,
		"\n[host.\"https://m\"]\n  capabilties = []": `line 3: unknown key "host.https://m.capabilties"`,
		`capabilities = ["fly"]`:                     `capability "fly"`,
		`capabilities = "pull"`:                      "line 1",
		`server = "ftp://x"`:                         `scheme "ftp"`,
		`server = "https://u:secret@x"`:              "is not a URL",
		`[host."https://x?y=1"]`:                     "is not a URL",
		`dial_timeout = "-1s"`:                       "dial_timeout",
		`dial_timeout = "soon"`:                      "dial_timeout",
		`ca = 5`:                                     "ca is not a path",
		`ca = "missing.crt"`:                         "missing.crt",
		`client = [[]]`:                              "client is not a path",
		`proxy = "gopher://x"`:                       `proxy scheme "gopher"`,
		"[header]\n\"a b\" = \"c\"":                  "bad name",
		"[header]\na = \"c\\r\\nX: y\"":              "bad value",
		"server = ":                                  "line 1",
		`server = "https://a"` + "\n" + `server = "https://b"`: "server",
	} {
		_, err := hosts.Load(write(t, "r.corp", "hosts.toml", text), "r.corp")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "hosts.toml") {
			t.Errorf("%q: got %v, want %q", text, err, want)
			continue
		}
		if !errors.Is(err, errdefs.ErrInvalid) && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q: no kind: %v", text, err)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: shows a password: %v", text, err)
		}
	}
}

func TestFilesAreReadEachTime(t *testing.T) {
	dir := write(t, "r.corp", "hosts.toml", `[host."https://one"]`)
	for _, name := range []string{"one", "two"} {
		if err := os.WriteFile(filepath.Join(dir, "r.corp", "hosts.toml"), []byte(`[host."https://`+name+`"]`), 0o644); err != nil {
			t.Fatal(err)
		}
		if list, err := hosts.Load(dir, "r.corp"); err != nil || list[0].Addr != name {
			t.Errorf("%v, %v", list, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("server = \"https://x\"\n[host.\"http://y:1/z\"]\ncapabilities=[\"pull\"]\n[host.\"http://y:1/z\".header]\na=[\"b\"]\n")
	f.Add("ca=[\"a\"]\nclient=[[\"a\",\"\"]]\nproxy=\"http://p\"\ndial_timeout=\"1s\"\nhost={\"https://a\"={}}\n")
	dir := f.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "r.corp"), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(filepath.Join(dir, "r.corp", "hosts.toml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		list, err := hosts.Load(dir, "r.corp")
		if err != nil {
			return
		}
		for _, h := range list {
			if h.Scheme != "https" && h.Scheme != "http" || h.Addr == "" || h.TLS == nil {
				t.Fatalf("%q: unusable host %+v", text, h)
			}
		}
	})
}
