package userns

import (
	"reflect"
	"testing"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte("         0       1000     100000\n"))
	f.Add([]byte("0 0 4294967295\n1 2 3\n"))
	f.Add([]byte("0 0\n"))
	f.Add([]byte("0 0 4294967296\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parse(data)
		if err != nil {
			return
		}
		again, err := parse(text(list))
		if err != nil || !reflect.DeepEqual(list, again) {
			t.Errorf("%v became %v, %v", list, again, err)
		}
		toHost(list, 7)
	})
}
