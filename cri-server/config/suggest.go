package config

import (
	"errors"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// maxKey bounds the key that is compared and printed; the comparison costs the product of both lengths.
const maxKey = 128

func describeUnknown(unknown *toml.StrictMissingError) error {
	known := knownKeys(reflect.TypeFor[Config](), "")
	var errs []error
	for i := range unknown.Errors {
		e := &unknown.Errors[i]
		line, _ := e.Position()
		key := strings.Join(e.Key(), ".")
		if len(key) > maxKey {
			errs = append(errs, errdefs.Invalid("line %d: unknown key %q…", line, key[:maxKey]))
			continue
		}
		errs = append(errs, errdefs.Invalid("line %d: unknown key %q; did you mean %q?", line, key, nearest(key, known)))
	}
	return errors.Join(errs...)
}

// knownKeys lists the dotted names of all tables and settings of t, in the order of their declaration.
func knownKeys(t reflect.Type, prefix string) []string {
	var keys []string
	for field := range t.Fields() {
		name := prefix + field.Tag.Get("toml")
		keys = append(keys, name)
		if field.Type.Kind() == reflect.Struct {
			keys = append(keys, knownKeys(field.Type, name+".")...)
		}
	}
	return keys
}

// nearest returns the known key with the least edits from key. A right name in the wrong table (conf_dir at the top
// instead of under [cni]) is one edit away, whatever the tables are called.
func nearest(key string, known []string) string {
	best, bestCost := "", int(^uint(0)>>1)
	for _, candidate := range known {
		cost := min(edits(key, candidate), edits(leaf(key), leaf(candidate))+1)
		if cost < bestCost {
			best, bestCost = candidate, cost
		}
	}
	return best
}

func leaf(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// edits is the Levenshtein distance of a and b in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
