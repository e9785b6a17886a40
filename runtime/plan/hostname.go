package plan

import (
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// maxHostname is __NEW_UTS_LEN of linux/utsname.h.
const maxHostname = 64

// checkName looks at a host name or domain name. It would be the host's without a uts namespace.
func checkName(field, name string, ownUTS bool) error {
	switch {
	case name != "" && !ownUTS:
		return errdefs.Invalid("%s: needs a uts namespace in linux.namespaces, the host's name would change", field)
	case len(name) > maxHostname:
		return errdefs.Invalid("%s: longer than %d bytes, the most that the kernel takes", field, maxHostname)
	case strings.ContainsRune(name, 0):
		return errdefs.Invalid("%s: %q has a NUL in it", field, name)
	}
	return nil
}
