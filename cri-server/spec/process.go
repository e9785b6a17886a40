package spec

import (
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-runtime/berth/internal/errdefs"
)

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// The limits of open files: low enough for programs that loop over all descriptors or use select, high enough to raise.
const (
	softNoFile = 1024
	hardNoFile = 524288
)

func checkProcess(_ PodConfig, c ContainerConfig) error {
	for _, a := range append(append([]string(nil), c.Command...), c.Args...) {
		if strings.ContainsRune(a, 0) {
			return errdefs.Invalid("argument %q has a NUL in it", a)
		}
	}
	for _, e := range c.Env {
		if e.Key == "" || strings.ContainsAny(e.Key, "=\x00") {
			return errdefs.Invalid("name of environment variable %q is empty or has a '=' or NUL in it", e.Key)
		}
		if slices.Contains(e.Value, 0) {
			return errdefs.Invalid("value of environment variable %s has a NUL in it", e.Key)
		}
	}
	if c.StopSignal < 0 || c.StopSignal > maxSignal {
		return errdefs.Invalid("stop signal %d is outside 0-%d", c.StopSignal, maxSignal)
	}
	if c.WorkingDir == "" {
		return nil
	}
	return checkPath("working directory", c.WorkingDir)
}

// args merges what the image starts with what the client asks for: a command replaces both the image's entrypoint and its
// arguments, arguments alone replace the image's arguments.
func args(c ContainerConfig, img Image) ([]string, error) {
	entry, rest := c.Command, c.Args
	if len(entry) == 0 {
		if len(rest) == 0 {
			rest = img.Cmd
		}
		if !slices.Equal(img.Entrypoint, []string{""}) { // how some builders write "none"
			entry = img.Entrypoint
		}
	}
	all := slices.Concat(entry, rest)
	if len(all) == 0 {
		return nil, errdefs.Invalid("container %s: neither the container nor its image %s says what to run", c.Name, c.Image)
	}
	for _, a := range append(slices.Clip(all), img.WorkingDir) { // the client's were looked at before
		if strings.ContainsRune(a, 0) {
			return nil, errdefs.Invalid("container %s: its image %s has a NUL in %q", c.Name, c.Image, a)
		}
	}
	return all, nil
}

// environment is PATH, HOSTNAME, HOME and TERM as defaults, then the image's, then the client's; the last one wins.
func environment(in Input) []string {
	c := in.Container
	var env []string
	at := map[string]int{}
	set := func(key, entry string) {
		if i, ok := at[key]; ok {
			env[i] = entry
			return
		}
		at[key] = len(env)
		env = append(env, entry)
	}
	set("PATH", defaultPath)
	set("HOSTNAME", "HOSTNAME="+Hostname(in.PodID, in.Pod, in.Host.Hostname))
	if c.TTY {
		set("TERM", "TERM=xterm")
	}
	for _, e := range in.Image.Env {
		if key, _, _ := strings.Cut(e, "="); key != "" && !strings.ContainsRune(e, 0) {
			set(key, e)
		}
	}
	for _, e := range c.Env {
		set(e.Key, e.Key+"="+string(e.Value))
	}
	if _, ok := at["HOME"]; !ok {
		set("HOME", "HOME="+home(in.User))
	}
	return env
}

// home does not trust the image's /etc/passwd to hold a path.
func home(u User) string {
	if checkPath("home", u.Home) != nil {
		return "/"
	}
	return u.Home
}

func workingDir(c ContainerConfig, img Image) string {
	if c.WorkingDir != "" {
		return path.Clean(c.WorkingDir)
	}
	return path.Join("/", img.WorkingDir) // images are known to have relative ones
}

func process(in Input) (*specs.Process, error) {
	argv, err := args(in.Container, in.Image)
	if err != nil {
		return nil, err
	}
	sec := in.Container.Security
	profile, err := apparmor(sec, in.Host.AppArmor)
	if err != nil {
		return nil, err
	}
	p := &specs.Process{
		Terminal:        in.Container.TTY,
		User:            specs.User{UID: in.User.UID, GID: in.User.GID, AdditionalGids: Groups(in.Container, in.User)},
		Args:            argv,
		Env:             environment(in),
		Cwd:             workingDir(in.Container, in.Image),
		Capabilities:    capabilities(sec, in.Host.Capabilities),
		NoNewPrivileges: sec.NoNewPrivs,
		ApparmorProfile: profile,
		SelinuxLabel:    SELinuxLabels(in.Host, in.PodID, in.Pod, in.Container).Process,
		Rlimits:         rlimits(in.Host),
	}
	if r := in.Container.Resources; r != nil {
		score := int(r.OOMScoreAdj)
		p.OOMScoreAdj = &score
	}
	return p, nil
}

func rlimits(h Host) []specs.POSIXRlimit {
	hard := uint64(hardNoFile)
	if h.NoFile > 0 && h.NoFile < hard {
		hard = h.NoFile
	}
	return []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: min(softNoFile, hard), Hard: hard}}
}

// ExecProcess returns the process that runs a command beside a container's first one: same identity, environment and
// limits, another command.
func ExecProcess(s *specs.Spec, cmd []string, tty bool) (*specs.Process, error) {
	if len(cmd) == 0 || cmd[0] == "" {
		return nil, errdefs.Invalid("exec: no command is given")
	}
	p := *s.Process
	p.Args, p.Terminal, p.Env = slices.Clone(cmd), tty, slices.Clone(s.Process.Env)
	hasTerm := slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "TERM=") })
	if tty && !hasTerm {
		p.Env = append(p.Env, "TERM=xterm")
	}
	return &p, nil
}
