package quickjson

import (
	"reflect"
	"strings"
)

// field is a field of a structure that is read.
type field struct {
	name  string
	index int
}

// maxFields is how many fields a structure that is read may have: one bit each tells which ones were there.
const maxFields = 64

// structure reads an object into a structure.
func (r *reader) structure(v reflect.Value, depth int) bool {
	fields, ok := r.fieldsOf(v.Type())
	if !ok || !r.next('{') {
		return false
	}
	var seen uint64
	for first := true; ; first = false {
		if r.next('}') {
			return first
		}
		r.blanks()
		name, ok := r.text()
		if !ok || !r.next(':') {
			return false
		}
		i := find(fields, name)
		if i < 0 || seen&(1<<i) != 0 {
			return false
		}
		seen |= 1 << i
		if !r.value(v.Field(fields[i].index), depth+1) {
			return false
		}
		if r.next('}') {
			return true
		}
		if !r.next(',') {
			return false
		}
	}
}

// find returns the field of that very name, -1 if there is none.
func find(fields []field, name string) int {
	for i := range fields {
		if fields[i].name == name {
			return i
		}
	}
	return -1
}

// fieldsOf lists the fields of a structure; ok is false if it has some that are not plain.
func (r *reader) fieldsOf(t reflect.Type) (list []field, ok bool) {
	if list, ok := r.fields[t]; ok {
		return list, list != nil
	}
	list = make([]field, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case f.Anonymous || strings.Contains(options, "string") || len(list) == maxFields:
			r.fields[t] = nil
			return nil, false
		case !f.IsExported() || tag == "-":
			continue
		case name == "":
			name = f.Name
		}
		if find(list, name) >= 0 || strings.ContainsFunc(name, notPlain) {
			r.fields[t] = nil
			return nil, false
		}
		list = append(list, field{name, i})
	}
	r.fields[t] = list
	return list, true
}

// notPlain tells whether a name may be none to encoding/json, which takes the field's own instead.
func notPlain(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.'
}
