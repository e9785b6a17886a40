package lsm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// profilesFile lists what is loaded, a line each: "NAME (MODE)". Names may have blanks in them.
const profilesFile = "/sys/kernel/security/apparmor/profiles"

// maxProfiles bounds the list; a desktop has about 10 KB.
const maxProfiles = 8 << 20

// Loaded tells whether AppArmor has a profile of that name. securityfs must be mounted, else it is an error.
func Loaded(name string) (bool, error) { return loaded(profilesFile, name) }

func loaded(file, name string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, fmt.Errorf("list AppArmor profiles: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxProfiles+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return false, fmt.Errorf("list AppArmor profiles: %w", err)
	}
	if len(data) > maxProfiles {
		return false, errdefs.New(errdefs.ErrExhausted, "list AppArmor profiles: more than %d bytes", maxProfiles)
	}
	return listed(string(data), name), nil
}

// listed looks for a name in the list.
func listed(list, name string) bool {
	for line := range strings.Lines(list) {
		if i := strings.LastIndex(line, " ("); i >= 0 && line[:i] == name {
			return true
		}
	}
	return false
}

const maxName = 4096

// CheckProfile refuses what can't be the name of a profile, which goes to the kernel as the rest of a line.
func CheckProfile(name string) error {
	bad := func(r rune) bool { return r < ' ' || r == 0x7f }
	switch {
	case name == "" || len(name) > maxName:
		return errdefs.Invalid("AppArmor profile: a name of %d bytes, not 1 to %d", len(name), maxName)
	case strings.ContainsFunc(name, bad):
		return errdefs.Invalid("AppArmor profile %q: has a control character in its name", name)
	}
	return nil
}
