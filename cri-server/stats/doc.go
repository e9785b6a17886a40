// Package stats holds the measured values of containers and pods, and the little state that measuring needs: the last
// sample of a CPU counter (for a rate) and the last walk of a writable layer (which is dear).
//
// It reads nothing itself: whoever owns a cgroup, a layer or a namespace hands the raw counters in. Its locks guard maps
// only and are never held while something is measured.
package stats
