package mailbox_test

import (
	"testing"

	"github.com/berth-runtime/berth/internal/mailbox"
)

// TestOrder puts in more than any channel holds before the first value is read.
func TestOrder(t *testing.T) {
	const many = 10_000
	b := mailbox.New[int]()
	for i := range many {
		b.Put(i)
	}
	for i := range many {
		if got := <-b.Out(); got != i {
			t.Fatalf("value %d is %d", i, got)
		}
	}
	b.Close()
	if v, ok := <-b.Out(); ok {
		t.Errorf("%d came out of a closed box", v)
	}
}

// TestCloseUnread closes a box whose value nobody reads.
func TestCloseUnread(t *testing.T) {
	b := mailbox.New[int]()
	b.Put(1)
	b.Close()
	b.Put(2)
	if v, ok := <-b.Out(); ok {
		t.Errorf("%d came out of a closed box", v)
	}
}
