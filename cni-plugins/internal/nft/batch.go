package nft

import (
	"errors"

	"github.com/google/nftables"
)

const (
	chunkSize   = 128 // elements of one message: their list is an attribute of at most 64 KiB, an element of up to 400 bytes
	elementSize = 512 // bytes of buffer for an element, or for the answer to a message
	usualSize   = 256 // elements that the kernel's usual buffers hold
)

// inChunks calls do for each set and not too many of its elements at a time.
func inChunks(list []element, do func(*nftables.Set, []nftables.SetElement) error) error {
	var sets []*nftables.Set // in order, so that the transaction is always the same
	bySet := map[*nftables.Set][]nftables.SetElement{}
	for _, e := range list {
		if bySet[e.set] == nil {
			sets = append(sets, e.set)
		}
		bySet[e.set] = append(bySet[e.set], e.raw)
	}
	for _, s := range sets {
		for raw := bySet[s]; len(raw) > 0; raw = raw[min(chunkSize, len(raw)):] {
			if err := do(s, raw[:min(chunkSize, len(raw))]); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush sends the batch, which changes so many elements.
func (f *Firewall) flush(elements int) error {
	if elements > usualSize && f.socket != nil {
		if err := errors.Join(f.socket.SetWriteBuffer(elements*elementSize), f.socket.SetReadBuffer(elements*elementSize)); err != nil {
			return err
		}
	}
	return f.conn.Flush()
}
