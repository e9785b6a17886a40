package lane

import (
	"sync"
	"testing"
)

func TestLaneRunsInOrderAndAlone(t *testing.T) {
	var l Lane
	var got []int
	for i := range 1000 {
		l.Do(func() { got = append(got, i) }) // the race detector would see two at once
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if err := l.Wait(func() error { got = append(got, -1); return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(got) != 1800 {
		t.Fatalf("%d functions ran", len(got))
	}
	for i := range 1000 {
		if got[i] != i {
			t.Fatalf("function %d ran in place %d", got[i], i)
		}
	}
}
