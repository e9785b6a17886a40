package rpc

import "google.golang.org/protobuf/proto"

// chunkSize is how much of a list goes into one message, in bytes, unless a single item is larger. Clients take 4 MiB
// (gRPC's default) at least.
const chunkSize = 1 << 20

// sendChunks sends every item once, in order, at least one a message.
func sendChunks[T proto.Message](items []T, send func([]T) error) error {
	begin, size := 0, 0
	for i, item := range items {
		n := proto.Size(item)
		if i > begin && size+n > chunkSize {
			if err := send(items[begin:i]); err != nil {
				return err
			}
			begin, size = i, 0
		}
		size += n
	}
	if begin == len(items) {
		return nil
	}
	return send(items[begin:])
}
