package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// User is an account as a container sees it.
type User struct {
	UID, GID uint32
	Name     string   // "" if no line of /etc/passwd has it
	Home     string   // "/" if unknown
	Groups   []uint32 // supplementary groups that /etc/group names the user in; never holds GID; sorted
}

// maxAccounts bounds /etc/passwd and /etc/group, which belong to the image: a process can't be made to read more
// (CVE-2025-4437, CVE-2026-47262).
const maxAccounts = 4 << 20

// LookupUser resolves "user", "uid", "user:group", "uid:gid" and mixtures in the root's /etc/passwd and /etc/group; ""
// is root. What is all digits is a number and never a name, and what is nearly one (a sign, or hexadecimal) is neither: a
// number above 2^31-1, or one that can't be parsed, is an error of kind ErrInvalid (CVE-2024-40635, CVE-2026-46680), so
// that a line of the image's /etc/passwd that is named like it does not make it root. A number without a line in /etc/passwd is fine and has
// group 0; an unknown name is ErrNotFound. Files that are missing count as empty; ones that are too large, or no regular
// files, are ErrInvalid.
func LookupUser(root *os.File, user string) (User, error) {
	name, group, hasGroup := strings.Cut(user, ":")
	if err := checkAccount(user, name, group, hasGroup); err != nil {
		return User{}, err
	}
	passwd, err := accounts(root, "/etc/passwd")
	if err != nil {
		return User{}, err
	}
	groups, err := accounts(root, "/etc/group")
	if err != nil {
		return User{}, err
	}
	return lookup(passwd, groups, name, group)
}

func checkAccount(user, name, group string, hasGroup bool) error {
	switch {
	case user != "" && name == "", hasGroup && group == "":
		return errdefs.Invalid("user %q: the part before or after the colon is empty", user)
	case strings.Contains(group, ":"):
		return errdefs.Invalid("user %q: more than one colon", user)
	case strings.ContainsFunc(user, func(r rune) bool { return r == 0x7f || unicode.IsSpace(r) || unicode.IsControl(r) }):
		return errdefs.Invalid("user %q: white space or a control character", user)
	case !isAccountName(name) || !isAccountName(group):
		return errdefs.Invalid("user %q: neither a number from 0 to 2147483647 nor a name", user)
	}
	return nil
}

// isAccountName refuses what somebody could take for a number, or for one of the lines that begin with a sign and mean
// "and all that NIS has" (nsswitch.conf(5), "Compatibility mode").
func isAccountName(s string) bool {
	if strings.HasPrefix(s, "+") || strings.HasPrefix(s, "-") {
		return false
	}
	hex, ok := strings.CutPrefix(strings.ToLower(s), "0x")
	return !ok || strings.Trim(hex, "0123456789abcdef") != ""
}

func accounts(root *os.File, path string) (string, error) {
	data, err := ReadFile(root, path, maxAccounts)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(data), err
}

// lookup is the pure part of LookupUser.
func lookup(passwd, groups, user, group string) (User, error) {
	if user == "" {
		user = "0"
	}
	u := User{Home: "/"}
	uid, numeric, err := parseID("user", user)
	if err != nil {
		return User{}, err
	}
	line, found := findPasswd(passwd, user, uid, numeric)
	switch {
	case found:
		u = line
	case numeric:
		u.UID = uid
	default:
		return User{}, errdefs.NotFound("user %q is not in the container's /etc/passwd", user)
	}
	if group != "" {
		if u.GID, err = findGroup(groups, group); err != nil {
			return User{}, err
		}
	}
	u.Groups = membership(groups, u)
	return u, nil
}

// Fields of a line, and the rest: a line of nothing but colons must not become a list that is larger than the file.
const passwdFields, groupFields = 7, 5

// findPasswd returns the first line with that name or number. Lines that are malformed are passed over, as the C
// library does; in none of them is a number cut short or wrapped around.
func findPasswd(passwd, name string, uid uint32, numeric bool) (User, bool) {
	for line := range strings.Lines(passwd) {
		f := strings.SplitN(strings.TrimRight(line, "\r\n"), ":", passwdFields)
		if len(f) < 6 || f[0] == "" || !isAccountName(f[0]) {
			continue
		}
		id, idOK := parseNumber(f[2])
		gid, gidOK := parseNumber(f[3])
		if !idOK || !gidOK {
			continue
		}
		if numeric && id == uid || !numeric && f[0] == name {
			return User{UID: id, GID: gid, Name: f[0], Home: home(f[5])}, true
		}
	}
	return User{}, false
}

// home refuses what would be control input elsewhere (CVE-2022-4318, CVE-2026-15809).
func home(dir string) string {
	if !strings.HasPrefix(dir, "/") || strings.ContainsFunc(dir, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "/"
	}
	return dir
}

func findGroup(groups, group string) (uint32, error) {
	gid, numeric, err := parseID("group", group)
	if err != nil || numeric {
		return gid, err
	}
	for line := range strings.Lines(groups) {
		name, gid, _, ok := parseGroup(line)
		if ok && name == group {
			return gid, nil
		}
	}
	return 0, errdefs.NotFound("group %q is not in the container's /etc/group", group)
}

// maxGroups is NGROUPS_MAX.
const maxGroups = 65536

func membership(groups string, u User) []uint32 {
	if u.Name == "" {
		return nil
	}
	var list []uint32
	for line := range strings.Lines(groups) {
		_, gid, members, ok := parseGroup(line)
		if !ok || gid == u.GID || len(list) >= maxGroups {
			continue
		}
		for m := range strings.SplitSeq(members, ",") {
			if strings.TrimSpace(m) == u.Name {
				list = append(list, gid)
				break
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func parseGroup(line string) (name string, gid uint32, members string, ok bool) {
	f := strings.SplitN(strings.TrimRight(line, "\r\n"), ":", groupFields)
	if len(f) < 3 || f[0] == "" || !isAccountName(f[0]) {
		return "", 0, "", false
	}
	gid, ok = parseNumber(f[2])
	if len(f) > 3 {
		members = f[3]
	}
	return f[0], gid, members, ok
}

// parseID reads what is a number if it consists of digits, else a name.
func parseID(what, s string) (id uint32, numeric bool, err error) {
	if strings.Trim(s, "0123456789") != "" {
		return 0, false, nil
	}
	id, ok := parseNumber(s)
	if !ok {
		return 0, true, errdefs.Invalid("%s %q: a number above 2147483647, or not a number at all", what, s)
	}
	return id, true, nil
}
