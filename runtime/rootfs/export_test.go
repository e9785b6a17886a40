package rootfs

import "strings"

// Lookup is LookupUser without its files.
func Lookup(passwd, groups, user string) (User, error) {
	name, group, hasGroup := strings.Cut(user, ":")
	if err := checkAccount(user, name, group, hasGroup); err != nil {
		return User{}, err
	}
	return lookup(passwd, groups, name, group)
}
