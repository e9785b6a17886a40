package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/berth-runtime/berth/internal/errdefs"
)

const (
	sysctlsMax     = 256  // of one attachment
	sysctlValueMax = 4096 // bytes; the kernel takes one page
)

// oneSysctl is a setting and its value.
type oneSysctl struct{ Key, Value string }

// sysctls is a JSON object that keeps its order, in which the settings are written, and refuses a key that stands there twice: which
// of the two values counts would be a matter of luck.
type sysctls []oneSysctl

// UnmarshalJSON implements json.Unmarshaler.
func (s *sysctls) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errdefs.Invalid("sysctl is not an object")
	}
	var list sysctls
	for d.More() {
		var one oneSysctl
		for _, p := range []*string{&one.Key, &one.Value} {
			t, err := d.Token()
			text, ok := t.(string)
			if err != nil || !ok {
				return errdefs.Invalid("sysctl %q: its value must be a string", one.Key)
			}
			*p = text
		}
		if list.find(one.Key) >= 0 {
			return errdefs.Invalid("sysctl %q is given twice", one.Key)
		}
		list = append(list, one)
	}
	*s = list
	return nil
}

// MarshalJSON implements json.Marshaler.
func (s sysctls) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, one := range s {
		key, keyErr := json.Marshal(one.Key)
		value, valueErr := json.Marshal(one.Value)
		if err := errors.Join(keyErr, valueErr); err != nil {
			return nil, fmt.Errorf("encode sysctls: %w", err)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s:%s", key, value)
	}
	return fmt.Appendf(nil, "{%s}", b.Bytes()), nil
}

func (s sysctls) find(key string) int {
	return slices.IndexFunc(s, func(one oneSysctl) bool { return one.Key == key })
}

// with returns the list with one setting replaced or added.
func (s sysctls) with(one oneSysctl) sysctls {
	s = slices.Clone(s)
	if i := s.find(one.Key); i >= 0 {
		s[i] = one
		return s
	}
	return append(s, one)
}
