package rpc

import (
	"strconv"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/imagestore"
)

func encodeImage(i imagestore.Image) *runtimeapi.Image {
	out := &runtimeapi.Image{
		Id:          i.ID,
		RepoTags:    i.Tags,
		RepoDigests: i.Digests,
		Size:        uint64(max(i.Size, 0)),
		Spec:        &runtimeapi.ImageSpec{Image: i.ID},
		Pinned:      i.Pinned,
	}
	out.Uid, out.Username = encodeImageUser(i.Config.Config.User)
	return out
}

// encodeImageUser splits the config's "user[:group]". The kubelet checks runAsNonRoot with it: a number is a UID, a
// name cannot be checked, and nothing at all means root.
func encodeImageUser(user string) (*runtimeapi.Int64Value, string) {
	name, _, _ := strings.Cut(user, ":")
	if name == "" {
		return &runtimeapi.Int64Value{}, ""
	}
	if uid, err := strconv.ParseUint(name, 10, 32); err == nil {
		return &runtimeapi.Int64Value{Value: int64(uid)}, ""
	}
	return nil, name
}
