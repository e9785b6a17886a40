package lsm

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// DefaultProfile is the name of the profile for containers that ask for no other.
const DefaultProfile = "berth-default"

// defaultText is the profile. A container may use its own files, network and capabilities as its other limits allow. Out
// of its reach are: mounts, the kernel's switches in /proc and /sys beyond those that belong to its namespaces, and
// processes outside: it may not trace them, and only unconfined ones (the node's own) may signal it. It includes no other
// file, so that it loads on nodes without AppArmor's abstractions.
const defaultText = `
profile ` + DefaultProfile + ` flags=(attach_disconnected,mediate_deleted) {
  network,
  capability,
  file,
  umount,

  signal (receive) peer=unconfined,
  signal (send, receive) peer=` + DefaultProfile + `,
  ptrace (trace, read, tracedby, readby) peer=` + DefaultProfile + `,

  deny mount,

  # Files directly in /proc, and folders there that are neither a process's nor sys.
  deny @{P}/* wkl,
  deny @{P}/{bus,fs,irq,acpi,asound,scsi,tty,driver}/** wkl,
  # Of /proc/sys, what is not per namespace: kernel/shm*, kernel/msg*, kernel/sem, kernel/ns_last_pid, kernel/domainname and
  # kernel/hostname, fs/mqueue, net and user are.
  deny @{P}/sys/{abi,crypto,debug,dev,vm,sunrpc}/** wkl,
  deny @{P}/sys/fs/{[^m]*,m[^q]*}{,/**} wkl,
  deny @{P}/sys/kernel/{[^smndh]*,s[^he]*,sh[^m]*,se[^m]*,m[^s]*,ms[^g]*,n[^s]*,d[^o]*,h[^o]*,hot*}{,/**} wkl,
  deny @{P}/{kcore,kmem,mem} rwkl,
  deny @{P}/sysrq-trigger rwkl,

  # Of /sys, what is not the container's own control group.
  deny /sys/[^f]*{,/**} wkl,
  deny /sys/f[^s]*{,/**} wkl,
  deny /sys/fs/[^c]*{,/**} wkl,
  deny /sys/fs/c[^g]*{,/**} wkl,
  deny /sys/firmware/** rwkl,
  deny /sys/kernel/security/** rwkl,
}
`

// profileText is what the parser gets.
func profileText() string { return strings.ReplaceAll(defaultText, "@{P}", "/proc") }

const parser = "apparmor_parser"

// CanLoad tells whether [EnsureDefault] will find what it needs: the list of profiles, and the parser or the profile itself.
func CanLoad() bool {
	have, err := Loaded(DefaultProfile)
	if err != nil {
		return false
	}
	_, err = exec.LookPath(parser)
	return have || err == nil
}

// EnsureDefault loads [DefaultProfile] into the kernel unless one of that name is there: who has loaded it has the last word.
// ErrNotSupported if AppArmor's parser is not installed. Calls at the same time load the same.
func EnsureDefault(ctx context.Context) error {
	if ok, err := Loaded(DefaultProfile); ok || err != nil {
		return err
	}
	program, err := exec.LookPath(parser)
	if err != nil {
		return errdefs.NotSupported("load AppArmor profile %s: %s is not installed (package apparmor): %w", DefaultProfile, parser, err)
	}
	cmd := exec.CommandContext(ctx, program, "--replace", "--skip-cache")
	cmd.Stdin = strings.NewReader(profileText())
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return errors.Join(errdefs.Unavailable("load AppArmor profile %s: %w: %.1000s", DefaultProfile, err, said.String()), ctx.Err())
	}
	return nil
}
