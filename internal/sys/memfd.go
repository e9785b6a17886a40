package sys

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const allSeals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// SealedMemory returns a memory file with the given content that nobody can change any more (memfd_create(2)).
func SealedMemory(name string, data []byte) (Raw, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return NoFile, err
	}
	r := Raw(fd)
	for rest := data; len(rest) > 0; {
		n, err := r.Write(rest)
		if err != nil {
			return NoFile, errors.Join(err, r.Close())
		}
		rest = rest[n:]
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, allSeals); err != nil {
		return NoFile, errors.Join(err, r.Close())
	}
	return r, nil
}

// ReadSealedMemory returns the content of a file made by [SealedMemory], of exactly size bytes. Files that are not
// sealed are refused: their sender could change them while they are read.
func ReadSealedMemory(r Raw, size int) ([]byte, error) {
	seals, err := unix.FcntlInt(uintptr(r), unix.F_GET_SEALS, 0)
	if err != nil {
		return nil, err
	}
	if seals&allSeals != allSeals {
		return nil, fmt.Errorf("memory file is not sealed: %#x", seals)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(r), &st); err != nil {
		return nil, err
	}
	if st.Size != int64(size) {
		return nil, fmt.Errorf("memory file of %d bytes, expected %d", st.Size, size)
	}
	data := make([]byte, size)
	for off := 0; off < size; {
		n, err := unix.Pread(int(r), data[off:], int64(off))
		if err != nil && err != unix.EINTR {
			return nil, err
		}
		if n == 0 && err == nil {
			return nil, unix.EIO
		}
		off += max(n, 0)
	}
	return data, nil
}
