package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

const maxDepth = 32

// checkJSON refuses what decoders disagree on or choke on: deep nesting, and keys of the outermost object that are there
// twice or differ only in case (Go's decoder takes "Layers" for "layers", others don't). The rest is the decoder's.
func checkJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	depth, isKey := 0, false
	seen := map[string]bool{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if key, ok := token.(string); ok && depth == 1 && isKey {
			folded := strings.ToLower(key)
			if seen[folded] {
				return errdefs.Invalid("the key %q is there twice", short(key))
			}
			seen[folded] = true
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			isKey = depth == 1
		case json.Delim('}'), json.Delim(']'):
			depth--
			isKey = depth == 1
		default:
			isKey = depth == 1 && !isKey
		}
		if depth > maxDepth {
			return errdefs.Invalid("it is nested deeper than %d", maxDepth)
		}
	}
}
