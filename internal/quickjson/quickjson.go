// Package quickjson reads JSON as encoding/json does, for programs that live shorter than that one takes to get ready: the
// first time it meets a type it makes encoders and decoders for all that the type can hold, which for an OCI configuration
// takes longer than to fork a container.
//
// Plain documents are read right away: known fields by their exact names of letters, digits, "_", "-" and ".", no two of which
// are the same, each at most once, of strings, integers, booleans, structures, slices and maps. For everything else, errors included, encoding/json does it all: its result is the definition of the
// right one.
package quickjson

import (
	"encoding/json"
	"reflect"
)

// Unmarshal is [json.Unmarshal] into a pointer to a zero value.
func Unmarshal(data []byte, v any) error {
	p := reflect.ValueOf(v)
	if p.Kind() == reflect.Pointer && !p.IsNil() && p.Elem().IsZero() {
		r := reader{data: data, fields: make(map[reflect.Type][]field)}
		if r.value(p.Elem(), 0) && r.end() {
			return nil
		}
		p.Elem().SetZero()
	}
	return json.Unmarshal(data, v)
}

// maxDepth keeps the reader's stack small. encoding/json goes deeper.
const maxDepth = 100

// reader reads one document. Its methods return false for what is not plain.
type reader struct {
	data   []byte // what has not been read
	fields map[reflect.Type][]field
}

// end tells whether nothing but blanks is left.
func (r *reader) end() bool {
	r.blanks()
	return len(r.data) == 0
}

func (r *reader) blanks() {
	for len(r.data) > 0 && (r.data[0] == ' ' || r.data[0] == '\n' || r.data[0] == '\t' || r.data[0] == '\r') {
		r.data = r.data[1:]
	}
}

// next skips blanks and takes a byte if it is c.
func (r *reader) next(c byte) bool {
	r.blanks()
	if len(r.data) == 0 || r.data[0] != c {
		return false
	}
	r.data = r.data[1:]
	return true
}

// word takes a literal.
func (r *reader) word(w string) bool {
	if len(r.data) < len(w) || string(r.data[:len(w)]) != w {
		return false
	}
	r.data = r.data[len(w):]
	return true
}

// value reads a value into v, which is zero.
func (r *reader) value(v reflect.Value, depth int) bool {
	r.blanks()
	if len(r.data) == 0 || depth > maxDepth || special(v.Type()) {
		return false
	}
	if r.data[0] == 'n' {
		return r.word("null") // leaves or makes it zero, whatever it is
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		if !r.value(p.Elem(), depth+1) {
			return false
		}
		v.Set(p)
		return true
	case reflect.Struct:
		return r.structure(v, depth)
	case reflect.Slice:
		return r.slice(v, depth)
	case reflect.Map:
		return r.dictionary(v, depth)
	default:
		return r.scalar(v)
	}
}

var (
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textual     = reflect.TypeFor[interface{ UnmarshalText(text []byte) error }]()
)

// special tells whether a type reads itself. Those without a name have no methods.
func special(t reflect.Type) bool {
	if t.Name() == "" || t.PkgPath() == "" {
		return false
	}
	p := reflect.PointerTo(t)
	return p.Implements(unmarshaler) || p.Implements(textual)
}

func (r *reader) slice(v reflect.Value, depth int) bool {
	if v.Type().Elem().Kind() == reflect.Uint8 || !r.next('[') { // bytes are base64
		return false
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	for n := 0; ; n++ {
		if r.next(']') {
			return n == 0
		}
		if n == v.Cap() {
			v.Grow(max(4, n))
		}
		v.SetLen(n + 1)
		if !r.value(v.Index(n), depth+1) {
			return false
		}
		if r.next(']') {
			return true
		}
		if !r.next(',') {
			return false
		}
	}
}

func (r *reader) dictionary(v reflect.Value, depth int) bool {
	t := v.Type()
	if t.Key().Kind() != reflect.String || special(t.Key()) || !r.next('{') {
		return false
	}
	v.Set(reflect.MakeMap(t))
	for first := true; ; first = false {
		if r.next('}') {
			return first
		}
		r.blanks()
		name, ok := r.text()
		if !ok || !r.next(':') {
			return false
		}
		key, e := reflect.ValueOf(name).Convert(t.Key()), reflect.New(t.Elem()).Elem()
		if v.MapIndex(key).IsValid() || !r.value(e, depth+1) {
			return false
		}
		v.SetMapIndex(key, e)
		if r.next('}') {
			return true
		}
		if !r.next(',') {
			return false
		}
	}
}
