package main

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// runOptions is the command line of run.
type runOptions struct {
	detach, interactive, tty, remove      bool
	name, hostname, network, workdir      string
	user, entrypoint, memory, cpus, pull  string
	ports, env, volumes, labels           []string
	capAdd, capDrop                       []string
	privileged, readonlyRootfs, noNewPriv bool

	image string
	args  []string
}

func (o *runOptions) flags(f *pflag.FlagSet) {
	f.BoolVarP(&o.detach, "detach", "d", false, "run in the background and print the container's ID")
	f.BoolVarP(&o.interactive, "interactive", "i", false, "connect standard input")
	f.BoolVarP(&o.tty, "tty", "t", false, "give the command a terminal")
	f.BoolVar(&o.remove, "rm", false, "remove the container when it has ended")
	f.StringVar(&o.name, "name", "", "`name` of the container (default: made from the image's)")
	f.StringVar(&o.hostname, "hostname", "", "host `name` inside (default: the container's name)")
	f.StringVar(&o.network, "network", "default", "default, or host for the node's own")
	f.StringArrayVarP(&o.ports, "publish", "p", nil, "publish a port: `[IP:]HOST:CONTAINER[/tcp|/udp]`")
	f.StringArrayVarP(&o.env, "env", "e", nil, "set a variable: `NAME=VALUE`, or NAME to pass the present value on")
	f.StringArrayVarP(&o.volumes, "volume", "v", nil, "mount a folder or file: `SOURCE:TARGET[:ro][:rshared|:rslave]`")
	f.StringArrayVarP(&o.labels, "label", "l", nil, "note `KEY=VALUE` with the container")
	f.StringVarP(&o.workdir, "workdir", "w", "", "`folder` in which the command starts")
	f.StringVarP(&o.user, "user", "u", "", "`USER[:GROUP]` of the command: numbers, or a user's name")
	f.StringVar(&o.entrypoint, "entrypoint", "", "`program` in place of the image's entrypoint")
	f.StringVarP(&o.memory, "memory", "m", "", "limit of memory: `BYTES`, or with k, m, g")
	f.StringVar(&o.cpus, "cpus", "", "limit of processor time in `CPUs`, such as 1.5")
	f.StringVar(&o.pull, "pull", "missing", "pull the image: always, missing or never")
	f.StringArrayVar(&o.capAdd, "cap-add", nil, "add a `capability`")
	f.StringArrayVar(&o.capDrop, "cap-drop", nil, "drop a `capability`")
	f.BoolVar(&o.privileged, "privileged", false, "give every right on the node")
	f.BoolVar(&o.readonlyRootfs, "read-only", false, "make the root file system read-only")
	f.BoolVar(&o.noNewPriv, "no-new-privileges", false, "deny rights through setuid programs")
}

// check finds what contradicts itself or cannot be had.
func (o *runOptions) check() error {
	switch {
	case o.network != "default" && o.network != "host":
		return errdefs.Invalid("--network %s: CRI has only default and host", o.network)
	case o.network == "host" && len(o.ports) > 0:
		return errdefs.Invalid("-p with --network host: all ports are the node's own already; leave -p out")
	case o.pull != "missing" && o.pull != "always" && o.pull != "never":
		return errdefs.Invalid("--pull %s: it is always, missing or never", o.pull)
	case o.name != "" && !validName(o.name):
		return errdefs.Invalid("--name %q: use letters, digits, and . _ - inside, at most 63", o.name)
	}
	return nil
}

func validName(name string) bool {
	if name == "" || len(name) > 63 {
		return false
	}
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return true
}

// nameFromImage makes a name of an image's last part and something unique.
func nameFromImage(image, unique string) string {
	base := path.Base(image)
	base, _, _ = strings.Cut(base, "@")
	base, _, _ = strings.Cut(base, ":")
	if !validName(base) || strings.HasPrefix(image, "sha256:") {
		base = "berth"
	}
	return base[:min(len(base), 50)] + "-" + unique
}

// userOf splits -u into CRI's fields.
func userOf(user string, sc *cri.LinuxContainerSecurityContext) error {
	if user == "" {
		return nil
	}
	name, group, hasGroup := strings.Cut(user, ":")
	if uid, err := strconv.ParseUint(name, 10, 32); err == nil {
		sc.RunAsUser = &cri.Int64Value{Value: int64(uid)}
	} else {
		sc.RunAsUsername = name
	}
	if hasGroup {
		gid, err := strconv.ParseUint(group, 10, 32)
		if err != nil {
			return errdefs.Invalid("-u %s: the group must be a number", user)
		}
		sc.RunAsGroup = &cri.Int64Value{Value: int64(gid)}
	}
	return nil
}

// resourcesOf converts -m and --cpus.
func resourcesOf(memory, cpus string) (*cri.LinuxContainerResources, error) {
	r := &cri.LinuxContainerResources{}
	if memory != "" {
		n, err := bytesOf(memory)
		if err != nil {
			return nil, fmt.Errorf("-m: %w", err)
		}
		r.MemoryLimitInBytes = n
	}
	if cpus != "" {
		n, err := strconv.ParseFloat(cpus, 64)
		if err != nil || !(n >= 0.01 && n <= 100_000) {
			return nil, errdefs.Invalid("--cpus %s: give a number of processors, such as 1.5", cpus)
		}
		r.CpuPeriod, r.CpuQuota = 100_000, int64(n*100_000)
	}
	return r, nil
}

func bytesOf(text string) (int64, error) {
	number, unit := strings.TrimRight(strings.ToLower(text), "bkmgi"), int64(1)
	switch suffix := strings.ToLower(text)[len(number):]; suffix {
	case "", "b":
	case "k", "kb", "ki", "kib":
		unit = 1 << 10
	case "m", "mb", "mi", "mib":
		unit = 1 << 20
	case "g", "gb", "gi", "gib":
		unit = 1 << 30
	default:
		return 0, errdefs.Invalid("%q is no size; give bytes, or a number with k, m or g", text)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > (1<<62)/unit {
		return 0, errdefs.Invalid("%q is no size; give bytes, or a number with k, m or g", text)
	}
	return n * unit, nil
}
