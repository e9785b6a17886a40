package layer

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// xattrRecord is how PAX headers carry extended attributes; GNU tar, libarchive, Go and all builders know it.
const xattrRecord = "SCHILY.xattr."

// xattrs picks the attributes that a container may see. Kept: user.*, file capabilities and ACLs. Left out: trusted.*,
// among them overlayfs's own (redirect, metacopy, opaque …), which would let a layer reach into others; its unprivileged
// spelling user.overlay.*; and the rest of security.* (labels, IMA), which is the host's to set. Leaving out rather than
// refusing keeps images usable that were packed straight from an overlay's folders.
func (r *Reader) xattrs(kind Kind, records map[string]string) ([]Xattr, error) {
	var list []Xattr
	total := 0
	for key, value := range records {
		name, ok := strings.CutPrefix(key, xattrRecord)
		if !ok {
			continue
		}
		if total += len(name) + len(value); total > r.limits.XattrBytes {
			return nil, errdefs.New(errdefs.ErrExhausted, "extended attributes of more than %d bytes", r.limits.XattrBytes)
		}
		if !keepXattr(kind, name) {
			continue
		}
		if len(name) > 255 || strings.Contains(name, "\x00") {
			return nil, errdefs.Invalid("extended attribute %s: bad name", quote(name))
		}
		if name == capabilityXattr && !validCapability(value) {
			return nil, errdefs.Invalid("extended attribute %s: not a file capability", name)
		}
		list = append(list, Xattr{Name: name, Value: value})
	}
	slices.SortFunc(list, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

const capabilityXattr = "security.capability"

func keepXattr(kind Kind, name string) bool {
	switch {
	case kind == File && name == capabilityXattr:
		return true
	case kind != File && kind != Dir: // xattr(7): user attributes and ACLs are for files and folders
		return false
	case name == "system.posix_acl_access", kind == Dir && name == "system.posix_acl_default":
		return true
	}
	return strings.HasPrefix(name, "user.") && len(name) > len("user.") && !strings.HasPrefix(name, "user.overlay.")
}

// validCapability checks struct vfs_cap_data of linux/capability.h: revision 2 of 20 bytes, or 3 of 24, which is for
// those user namespaces only whose root is the host's user in its last field.
func validCapability(value string) bool {
	if len(value) < 4 {
		return false
	}
	switch binary.LittleEndian.Uint32([]byte(value)) &^ 1 { // bit 0: effective
	case 0x02000000:
		return len(value) == 20
	case 0x03000000:
		return len(value) == 24
	}
	return false
}
