package network

import (
	"testing"
)

func TestParseQuantity(t *testing.T) {
	for text, want := range map[string]uint64{
		"1000": 1000, "10M": 10e6, "1.5Gi": 1610612736, "1e6": 1e6, "2E3": 2000, "1E": 1e18, "1500m": 2, "0.5k": 500, "+3k": 3000, "1e-3": 1,
	} {
		if got, err := parseQuantity(text); err != nil || got != want {
			t.Errorf("parseQuantity(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "M", "-1", "1.2.3", "1 M", "1MM", "1e", "1e+-3", "1e100", "99999999999999999999", "ten", ".", "1+1"} {
		if got, err := parseQuantity(text); err == nil {
			t.Errorf("parseQuantity(%q) = %d, want an error", text, got)
		}
	}
}

func FuzzParseQuantity(f *testing.F) {
	for _, s := range []string{"10M", "1.5Gi", "1e6", "1500m", "+.5E-1"} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, text string) { _, _ = parseQuantity(text) })
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte(`{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"bridge","capabilities":{"portMappings":true}}]}`), true)
	f.Add([]byte(`{"cniVersions":["0.4.0","1.0.0"],"name":"n","type":"bridge"}`), false)
	f.Add([]byte(`{"name":1,"plugins":null}`), true)
	f.Fuzz(func(t *testing.T, data []byte, isList bool) {
		list, err := parseList(data, isList)
		if err != nil {
			return
		}
		if list == nil {
			t.Fatal("no list and no error")
		}
		if checkList(list) == nil && len(list.Plugins) == 0 {
			t.Fatal("a list without plugins passed")
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(`{"pod_id":"p","network":"n","cni_version":"1.0.0","plugins":[{"type":"a"}],"args":[["a","b"]],"capability_args":{"x":1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data)
		if err != nil {
			return
		}
		if list, err := r.list(); err != nil || len(list.Plugins) == 0 {
			t.Fatalf("a record without a list passed: %v", err)
		}
	})
}

func FuzzDecodeChoice(f *testing.F) {
	f.Add([]byte(`{"subnets":["10.77.0.0/16"]}`))
	f.Add([]byte(`{"subnets":["10.77.0.0/16","fd00::/64"],"pod_cidr":true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeChoice(data)
		if err != nil {
			return
		}
		n := &Network{conf: Config{DefaultName: "berth", CacheDir: "/x"}}
		if _, err := n.buildDefault(c); err != nil {
			t.Fatal(err)
		}
	})
}
