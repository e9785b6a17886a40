package quickjson

import (
	"encoding/json"
	"reflect"
	"strconv"
	"unicode/utf8"
)

// scalar reads a string, an integer or a boolean.
func (r *reader) scalar(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		s, ok := r.text()
		if ok {
			v.SetString(s)
		}
		return ok
	case reflect.Bool:
		yes := r.word("true")
		v.SetBool(yes)
		return yes || r.word("false")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		digits, ok := r.integer()
		n, err := strconv.ParseInt(digits, 10, v.Type().Bits())
		if ok && err == nil {
			v.SetInt(n)
		}
		return ok && err == nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		digits, ok := r.integer()
		n, err := strconv.ParseUint(digits, 10, v.Type().Bits())
		if ok && err == nil {
			v.SetUint(n)
		}
		return ok && err == nil
	}
	return false
}

// integer takes a number without a fraction or an exponent.
func (r *reader) integer() (digits string, ok bool) {
	n := 0
	if n < len(r.data) && r.data[n] == '-' {
		n++
	}
	first := n
	for n < len(r.data) && '0' <= r.data[n] && r.data[n] <= '9' {
		n++
	}
	if n == first || r.data[first] == '0' && n > first+1 {
		return "", false
	}
	if n < len(r.data) && (r.data[n] == '.' || r.data[n] == 'e' || r.data[n] == 'E') {
		return "", false
	}
	digits = string(r.data[:n])
	r.data = r.data[n:]
	return digits, true
}

// text takes a string.
func (r *reader) text() (s string, ok bool) {
	if len(r.data) == 0 || r.data[0] != '"' {
		return "", false
	}
	escaped := false
	for n := 1; n < len(r.data); n++ {
		switch c := r.data[n]; {
		case c == '\\':
			escaped = true
			n++
		case c == '"':
			raw := r.data[:n+1]
			r.data = r.data[n+1:]
			if !escaped && utf8.Valid(raw) {
				return string(raw[1:n]), true
			}
			return s, json.Unmarshal(raw, &s) == nil
		case c < ' ':
			return "", false
		}
	}
	return "", false
}
