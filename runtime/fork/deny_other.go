//go:build !amd64

package fork

func breaksChildHere(uint32) bool { return false }
