package seccomp_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/testutil"
)

// published is a profile as podman and Docker keep theirs: with entries that depend on the machine and on the container's
// capabilities.
type published struct {
	DefaultAction   specs.LinuxSeccompAction
	DefaultErrnoRet *uint
	Syscalls        []struct {
		specs.LinuxSyscall
		Includes, Excludes struct {
			Caps, Arches []string
		}
	}
}

// resolve returns what a container gets, one that has every capability or none that is asked about. The kernel is new.
func (p *published) resolve(machine string, caps bool) specs.LinuxSeccomp {
	out := specs.LinuxSeccomp{DefaultAction: p.DefaultAction, DefaultErrnoRet: p.DefaultErrnoRet}
	for _, s := range p.Syscalls {
		in, ex := s.Includes, s.Excludes
		if len(in.Arches) > 0 && !slices.Contains(in.Arches, machine) || slices.Contains(ex.Arches, machine) ||
			len(in.Caps) > 0 && !caps || len(ex.Caps) > 0 && caps {
			continue
		}
		out.Syscalls = append(out.Syscalls, s.LinuxSyscall)
	}
	return out
}

func TestVerdictsOnPublishedProfilesAreLibseccomps(t *testing.T) {
	o := newOracle(t)
	for name, path := range map[string]func(*testing.T) string{"podman": podmansProfile, "docker": dockersProfile} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(path(t))
			testutil.Must(t, err)
			var p published
			testutil.Must(t, json.Unmarshal(data, &p))
			if len(p.Syscalls) < 10 {
				t.Fatalf("only %d entries", len(p.Syscalls))
			}
			for machine, list := range archs {
				for caps, how := range map[bool]string{false: " without capabilities", true: " with capabilities"} {
					t.Run(machine+how, func(t *testing.T) { o.judge(t, machine, list, p.resolve(machine, caps)) })
				}
			}
		})
	}
}

// podmansProfile is Debian's golang-github-containers-common's.
func podmansProfile(t *testing.T) string {
	const path = "/usr/share/containers/seccomp.json"
	if _, err := os.Stat(path); err != nil {
		testutil.Skip(t, "golang-github-containers-common is not installed")
	}
	return path
}

// dockersProfile is moby's, in the version that testdata/moby pins.
func dockersProfile(t *testing.T) string {
	cmd := exec.Command(testutil.RequireTool(t, "go"), "mod", "download", "-json", "github.com/moby/profiles/seccomp")
	cmd.Dir = "testdata/moby"
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var module struct{ Dir, Error string }
	if err := cmd.Run(); err != nil && !bytes.HasPrefix(out.Bytes(), []byte("{")) {
		t.Fatalf("download Docker's profile: %v: %s", err, errs.String())
	}
	testutil.Must(t, json.Unmarshal(out.Bytes(), &module))
	if strings.Contains(module.Error, "dial tcp") {
		testutil.Skip(t, "Docker's profile is not in the module cache, and there is no network: %s", module.Error)
	}
	if module.Error != "" {
		t.Fatalf("download Docker's profile: %s", module.Error)
	}
	return filepath.Join(module.Dir, "default.json")
}
