package layer

import "time"

// Kind is what an entry asks for.
type Kind uint8

// The kinds. Whiteout and Opaque are OCI's markers in the form that a caller acts on: the first hides Path of the layers
// below, the second all that the layers below have in the folder Path. Neither touches what this layer itself holds, in
// whatever order the two come.
const (
	File Kind = iota + 1
	Dir
	Symlink
	Hardlink
	Char
	Block
	FIFO
	Whiteout
	Opaque
)

func (k Kind) String() string {
	names := [...]string{"", "file", "folder", "symbolic link", "hard link", "character device", "block device", "FIFO", "whiteout", "opaque marker"}
	if int(k) < len(names) {
		return names[k]
	}
	return "?"
}

// Entry is one verified header. Which fields mean anything depends on Kind.
type Entry struct {
	Kind Kind
	// Path is relative and clean: no leading slash, no "." or ".." or empty component; "." alone is the layer's root,
	// which is only ever a Dir or Opaque. Any other bytes but NUL may be in it.
	Path string
	// Target of a Symlink is its text, unchecked but for its length: it means nothing outside of a container. That of a
	// Hardlink is a path as above.
	Target       string
	Size         int64  // File: bytes that Read will return
	Sparse       bool   // File: it was stored with holes; runs of zeros may be left out
	Mode         uint32 // the twelve permission bits
	UID, GID     uint32
	ModTime      time.Time // within what ext4 stores: 1901 to 2446
	Major, Minor uint32    // Char and Block
	Xattrs       []Xattr   // sorted by name
}

// Xattr is one extended attribute.
type Xattr struct{ Name, Value string }
