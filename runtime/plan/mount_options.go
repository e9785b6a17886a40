package plan

import (
	"slices"
	"strings"
	"syscall"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

// attrChange is what an option of mount(8) does to a mount's attributes. The atime modes are one field of several bits.
type attrChange struct{ set, clear uint64 }

// attrOption returns the attributes that an option stands for.
func attrOption(name string) (attrChange, bool) {
	on := func(bit uint64) (attrChange, bool) { return attrChange{set: bit}, true }
	off := func(bit uint64) (attrChange, bool) { return attrChange{clear: bit}, true }
	atime := func(mode uint64) (attrChange, bool) { return attrChange{mode, sys.MountAtime}, true }
	switch name {
	case "ro":
		return on(sys.MountRdonly)
	case "rw":
		return off(sys.MountRdonly)
	case "nosuid":
		return on(sys.MountNosuid)
	case "suid":
		return off(sys.MountNosuid)
	case "nodev":
		return on(sys.MountNodev)
	case "dev":
		return off(sys.MountNodev)
	case "noexec":
		return on(sys.MountNoexec)
	case "exec":
		return off(sys.MountNoexec)
	case "nodiratime":
		return on(sys.MountNodiratime)
	case "diratime":
		return off(sys.MountNodiratime)
	case "nosymfollow":
		return on(sys.MountNosymfollow)
	case "symfollow":
		return off(sys.MountNosymfollow)
	case "relatime", "norelatime", "atime":
		return atime(sys.MountRelatime)
	case "noatime":
		return atime(sys.MountNoatime)
	case "strictatime", "nostrictatime":
		return atime(sys.MountStrictatime)
	}
	return attrChange{}, false
}

// propagation returns the MS_ flag of a propagation option, 0 for any other. The forms without "r" set the top mount
// alone; which form it was, options remembers.
func propagation(name string) uint64 {
	switch strings.TrimPrefix(name, "r") {
	case "shared":
		return syscall.MS_SHARED
	case "slave":
		return syscall.MS_SLAVE
	case "private":
		return syscall.MS_PRIVATE
	case "unbindable":
		return syscall.MS_UNBINDABLE
	}
	return 0
}

// MountOptions lists the options that are not for the file system.
func MountOptions() []string {
	var list []string
	for _, name := range []string{
		"async", "atime", "bind", "defaults", "dev", "diratime", "dirsync", "exec", "idmap", "iversion", "lazytime", "loud", "mand",
		"noatime", "nodev", "nodiratime", "noexec", "noiversion", "nolazytime", "nomand", "norelatime", "nostrictatime", "nosuid",
		"nosymfollow", "private", "rbind", "relatime", "remount", "ridmap", "ro", "rw", "shared", "silent", "slave", "strictatime",
		"suid", "symfollow", "sync", "tmpcopyup", "unbindable",
	} {
		for _, form := range []string{name, "r" + name} {
			o, err := parseOptions([]string{form})
			if err == nil && len(o.params) == 0 && !slices.Contains(list, form) {
				list = append(list, form)
			}
		}
	}
	slices.Sort(list)
	return list
}

// options is the list of a mount's options, understood.
type options struct {
	attr, recursive attrChange
	propagation     uint64
	bind, rbind     bool
	idmap, ridmap   bool
	copyUp, remount bool
	superblock      []string // flags of the file system as a whole
	none            []string // what mount(2) takes and no file system listens to
	params          []Param  // for the file system itself
}

// parseOptions sorts options. The later of two that contradict each other counts, as for mount(8).
func parseOptions(list []string) (options, error) {
	var o options
	for _, opt := range list {
		name, value, hasValue := strings.Cut(opt, "=")
		if strings.ContainsRune(opt, 0) || name == "" {
			return o, errdefs.Invalid("option %q", opt)
		}
		if hasValue {
			o.params = append(o.params, Param{Key: name, Value: &value})
			continue
		}
		if err := o.add(name); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (o *options) add(name string) error {
	if change, ok := attrOption(name); ok {
		o.attr.merge(change)
		return nil
	}
	if change, ok := attrOption(strings.TrimPrefix(name, "r")); ok && name[0] == 'r' {
		o.recursive.merge(change)
		return nil
	}
	if p := propagation(name); p != 0 {
		o.propagation = p
		return nil
	}
	switch name {
	case "defaults", "silent", "loud": // the latter two are about messages in the kernel's log
	case "sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand":
		o.superblock = append(o.superblock, name)
	case "acl", "noacl", "iversion", "noiversion":
		o.none = append(o.none, name)
	case "bind":
		o.bind = true
	case "rbind":
		o.bind, o.rbind = true, true
	case "idmap":
		o.idmap = true
	case "ridmap":
		o.idmap, o.ridmap = true, true
	case "tmpcopyup":
		o.copyUp = true
	case "remount":
		o.remount = true
	case "move", "rmove":
		return errdefs.NotSupported("option %q is not supported by berth", name)
	default:
		o.params = append(o.params, Param{Key: name})
	}
	return nil
}

func (c *attrChange) merge(n attrChange) {
	c.set = c.set&^n.clear | n.set
	c.clear = c.clear&^n.set | n.clear
}
