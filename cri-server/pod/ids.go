package pod

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// idLength is that of Docker's IDs, which people and tools expect: 64 hexadecimal digits.
const idLength = 64

func newID() string {
	var b [idLength / 2]byte
	rand.Read(b[:]) // never fails, by its documentation
	return hex.EncodeToString(b[:])
}

func validID(id string) bool {
	return len(id) == idLength && strings.Trim(id, "0123456789abcdef") == ""
}

// podName is what makes a request the retry of another (CRI: the metadata is unique together).
func podName(c spec.PodConfig) string {
	return fmt.Sprintf("pod %q of namespace %q, uid %q, attempt %d", c.Name, c.Namespace, c.UID, c.Attempt)
}

func containerName(podID string, c spec.ContainerConfig) string {
	return fmt.Sprintf("container %q of pod %s, attempt %d", c.Name, podID, c.Attempt)
}

// digestOf tells whether two configurations are the same. Their JSON is canonical: maps are sorted, empty is absent.
func digestOf(config any) (string, error) {
	data, err := json.Marshal(config)
	if err != nil {
		return "", errdefs.Invalid("encode the configuration: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// find returns the one entry whose ID is, or starts with, what is given.
func find[T any](all map[string]T, what, id string) (T, error) {
	var none, found T
	if e, ok := all[id]; ok {
		return e, nil
	}
	if id == "" {
		return none, errdefs.Invalid("the %s's ID is empty", what)
	}
	matches := 0
	for full, e := range all {
		if strings.HasPrefix(full, id) {
			found = e
			matches++
		}
	}
	switch {
	case matches == 1:
		return found, nil
	case matches > 1:
		return none, errdefs.Invalid("%s %s: %d IDs start like this", what, id, matches)
	}
	return none, errdefs.NotFound("%s %s does not exist", what, id)
}
