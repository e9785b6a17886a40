package layer

// Limits bound what one layer may hold. A zero field means the default of [DefaultLimits], so the zero value is usable.
type Limits struct {
	Entries    int64 // headers in the tar
	TotalBytes int64 // sum of the regular files' sizes, and also of the tar stream read; the guard against bombs
	FileBytes  int64 // one regular file
	PathBytes  int   // one name or link target; the kernel's PATH_MAX by default
	Depth      int   // components of one name
	XattrBytes int   // extended attributes of one entry, names and values
}

// DefaultLimits are wide enough for every image that was seen in practice and narrow enough that a hostile one is
// refused before it fills a disk's inode table or the memory: 4 Mi entries, 256 GiB in all, 64 GiB a file.
func DefaultLimits() Limits {
	return Limits{
		Entries:    4 << 20,
		TotalBytes: 256 << 30,
		FileBytes:  64 << 30,
		PathBytes:  4096,
		Depth:      1024,
		XattrBytes: 64 << 10,
	}
}

// withDefaults fills in the zero fields.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	fill(&l.Entries, d.Entries)
	fill(&l.TotalBytes, d.TotalBytes)
	fill(&l.FileBytes, d.FileBytes)
	fill(&l.PathBytes, d.PathBytes)
	fill(&l.Depth, d.Depth)
	fill(&l.XattrBytes, d.XattrBytes)
	return l
}

func fill[T int | int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}
