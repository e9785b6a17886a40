package images

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSourceListsBecomeSourceRepositories(t *testing.T) {
	for name, c := range map[string]struct {
		convert func(string) string
		in      string
		want    string
	}{
		"one line": {
			fromOneLine,
			"# deb http://no suite\ndeb [arch=amd64 signed-by=/k.gpg] http://mirror/debian trixie main contrib # ours\ndeb-src http://mirror/debian trixie main\n",
			"Types: deb-src\nURIs: http://mirror/debian\nSuites: trixie\nComponents: main contrib\nSigned-By: /k.gpg\n\n",
		},
		"stanzas": {
			fromStanzas,
			"Types: deb\n# note\nURIs: http://mirror/debian\nSuites: a b\nArchitectures: amd64\n\nTypes: deb-src\nURIs: http://x\n\nTypes: deb\nEnabled: no\nURIs: http://y\n",
			"Types: deb-src\nURIs: http://mirror/debian\nSuites: a b\n\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.convert(c.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCatalogNamesEachReferenceOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range catalog(guest{path: "guest"}) {
		if len(e.refs) == 0 {
			t.Fatalf("an entry without references: %+v", e)
		}
		for _, ref := range e.refs {
			if seen[ref] || !strings.Contains(ref, ":") {
				t.Errorf("reference %q: not a tag, or listed twice", ref)
			}
			seen[ref] = true
		}
	}
	for _, ref := range []string{Busybox, Nginx, Pause, Web, Layers} {
		if !seen[ref] {
			t.Errorf("%s is not built", ref)
		}
	}
}
