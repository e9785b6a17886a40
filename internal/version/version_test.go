package version

import "testing"

func TestSemantic(t *testing.T) {
	for in, want := range map[string]string{
		"v1.2.3": "1.2.3", "v1.2.3-4-gabc-dirty": "1.2.3-4-gabc-dirty", "abc123": "0.0.0+abc123", "abc dirty": "0.0.0+abc-dirty", "v1.2": "0.0.0+1.2",
	} {
		if got := semantic(in); got != want {
			t.Errorf("semantic(%q) = %q, want %q", in, got, want)
		}
	}
	if String() == "" {
		t.Error("no version at all")
	}
}
