package spec

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func checkUser(_ PodConfig, c ContainerConfig) error {
	s := c.Security
	if s.RunAsUser != nil && s.RunAsUsername != "" {
		return errdefs.Invalid("both run_as_user and run_as_username are given")
	}
	if s.RunAsGroup != nil && s.RunAsUser == nil && s.RunAsUsername == "" {
		return errdefs.Invalid("run_as_group is given without run_as_user or run_as_username")
	}
	ids := slices.Clone(s.SupplementalGroups)
	for _, id := range []*int64{s.RunAsUser, s.RunAsGroup} {
		if id != nil {
			ids = append(ids, *id)
		}
	}
	for _, id := range ids {
		if id < 0 || id >= math.MaxUint32 { // the last one is (uid_t)-1, "no change" to the kernel
			return errdefs.Invalid("user or group %d is outside 0-4294967294", id)
		}
	}
	if strings.ContainsAny(s.RunAsUsername, ":\r\n\x00") {
		return errdefs.Invalid("user name %q has a ':', a line break or a NUL in it", s.RunAsUsername)
	}
	if s.GroupsPolicy != GroupsMerge && s.GroupsPolicy != GroupsStrict {
		return errdefs.Invalid("unknown supplemental groups policy %d", s.GroupsPolicy)
	}
	return nil
}

// QueryUser returns whom to look up in the image, in the notation of an image's User ("name", "uid", "name:group", …).
// It is empty for root.
func QueryUser(c ContainerConfig, img Image) string {
	s := c.Security
	user := img.User
	switch {
	case s.RunAsUser != nil:
		user = strconv.FormatInt(*s.RunAsUser, 10)
	case s.RunAsUsername != "":
		user = s.RunAsUsername
	}
	if s.RunAsGroup != nil {
		user += ":" + strconv.FormatInt(*s.RunAsGroup, 10)
	}
	return user
}

// Groups returns the supplemental groups of the first process, the primary one first, without duplicates. Under Strict,
// what the image's /etc/group says has no part in it (KEP-3619).
func Groups(c ContainerConfig, u User) []uint32 {
	groups := []uint32{u.GID}
	add := func(g uint32) {
		if !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	for _, g := range c.Security.SupplementalGroups {
		add(uint32(g))
	}
	if c.Security.GroupsPolicy == GroupsMerge {
		for _, g := range u.Groups {
			add(g)
		}
	}
	return groups
}
