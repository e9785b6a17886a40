package pod

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

var updateDocs = flag.Bool("update", false, "write the pictures of states into ARCHITECTURE.md")

// TestThePicturesShowTheTables compares the marked block of ARCHITECTURE.md with what the tables say.
func TestThePicturesShowTheTables(t *testing.T) {
	const path, begin, end = "../../ARCHITECTURE.md", "<!-- states -->\n", "<!-- /states -->"
	doc, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		testutil.Skip(t, "no ARCHITECTURE.md: the tests run without the source")
	}
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := bytes.Cut(doc, []byte(begin))
	shown, after, closed := bytes.Cut(rest, []byte(end))
	if !found || !closed {
		t.Fatalf("%s has no block from %q to %q", path, begin, end)
	}
	want := picture("pod", podMoves(), PodCreating) + "\n" + picture("container", containerMoves(), ContainerCreating, ContainerUnknown)
	if *updateDocs {
		text := slices.Concat(before, []byte(begin), []byte(want), []byte(end), after)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, string(shown)); d != "" {
		t.Errorf("the pictures differ from the tables; run go test ./cri-server/pod -run Pictures -update\n%s", d)
	}
}

// picture draws a table as a Mermaid state diagram: first the states that an object can begin in, last those that it ends
// in.
func picture[S ~string](what string, moves map[S][]S, first ...S) string {
	var b strings.Builder
	fmt.Fprintf(&b, "A %s:\n```mermaid\nstateDiagram-v2\n    direction LR\n", what)
	for _, s := range first {
		fmt.Fprintf(&b, "    [*] --> %s\n", s)
	}
	for _, from := range slices.Sorted(maps.Keys(moves)) {
		for _, to := range moves[from] {
			fmt.Fprintf(&b, "    %s --> %s\n", from, to)
		}
		if len(moves[from]) == 0 {
			fmt.Fprintf(&b, "    %s --> [*]\n", from)
		}
	}
	b.WriteString("```\n")
	return b.String()
}

func TestEveryStateCanEndAndNoMoveLeadsOutOfTheTable(t *testing.T) {
	checkTable(t, podMoves(), PodCreating)
	checkTable(t, containerMoves(), ContainerCreating, ContainerUnknown)
}

func checkTable[S ~string](t *testing.T, moves map[S][]S, first ...S) {
	t.Helper()
	reached := map[S]bool{}
	for todo := slices.Clone(first); len(todo) > 0; todo = todo[1:] {
		if s := todo[0]; !reached[s] {
			reached[s] = true
			todo = append(todo, moves[s]...)
		}
	}
	for s := range moves {
		if !reached[s] {
			t.Errorf("%s can't be reached", s)
		}
	}
	for s := range reached {
		if _, ok := moves[s]; !ok {
			t.Errorf("%s is not in the table", s)
		}
	}
}

func TestAMoveThatTheTableDoesNotHaveIsRefused(t *testing.T) {
	s := PodStopped
	if err := transition(podMoves(), &s, PodReady); !errors.Is(err, errdefs.ErrBug) || s != PodStopped {
		t.Errorf("got %v, state %s", err, s)
	}
	if err := transition(podMoves(), &s, PodRemoving); err != nil || s != PodRemoving {
		t.Errorf("got %v, state %s", err, s)
	}
}
