package fork

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// image is a childPlan with all that it refers to, in one piece of memory: the plan, its calls, their results, gaps, the program's
// arena, and the steps' texts where a reader needs them. Since pointers are in it, it works at one address only.
type image struct {
	words []uint64
	base  uintptr // where it is when the plan runs
	files numbers
}

// numbers are the descriptors that things have in the process that clones.
type numbers struct {
	program []int
	stdio   [3]int
	report  int
	answer  int   // -1: none
	pidns   int   // that this process joins for the clone; 0: none
	cgroup  int   // 0: none
	open    []int // of the process that clones, which the child must not have
}

// places are where the parts of an image are.
type places struct{ calls, results, gaps, arena, texts, end uintptr }

// newImage lays the program out for one start. at is the address where it is going to be; 0: where it is made.
func newImage(p *Program, o Options, n numbers, at uintptr) (*image, error) {
	gaps := n.gaps()
	pl := p.places(len(gaps))
	img := &image{words: make([]uint64, pl.end/wordBytes), base: at, files: n}
	if at == 0 {
		img.base = uintptr(unsafe.Pointer(&img.words[0]))
	}
	plan := img.plan()
	*plan = childPlan{
		calls: list{pl.calls, uintptr(len(p.calls))}, results: pl.results, gaps: list{pl.gaps, uintptr(len(gaps))},
		errfd: uintptr(n.report), gofd: uintptr(n.answer), pidns: uintptr(n.pidns), inherits: at == 0,
		clone: cloneArgs{
			flags: o.Flags | unix.CLONE_PIDFD, pidfd: uint64(img.base + unsafe.Offsetof(plan.pidfd)), exitSignal: uint64(unix.SIGCHLD),
		},
		second: cloneArgs{flags: p.cloneFlags() | unix.CLONE_PARENT}, // whose exit signal is the first child's
	}
	if n.cgroup != 0 {
		plan.clone.flags |= unix.CLONE_INTO_CGROUP
		plan.clone.cgroup = uint64(n.cgroup)
	}
	copy(unsafe.Slice((*[2]uintptr)(img.at(pl.gaps)), len(gaps)), gaps)
	p.writeArena(img.bytes()[pl.arena:], img.base+pl.arena, n)
	return img, p.writeCalls(img, pl, n)
}

func (img *image) plan() *childPlan { return (*childPlan)(unsafe.Pointer(&img.words[0])) }

func (img *image) at(offset uintptr) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(&img.words[0]), offset)
}

func (img *image) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&img.words[0])), uintptr(len(img.words))*wordBytes)
}

// places finds room for everything.
func (p *Program) places(gaps int) (pl places) {
	next := planBytes
	take := func(n uintptr) uintptr {
		at := next
		next += (n + wordBytes - 1) &^ (wordBytes - 1)
		return at
	}
	pl.calls = take(uintptr(len(p.calls)) * childCallBytes)
	pl.results = take(uintptr(len(p.calls)) * wordBytes)
	pl.gaps = take(uintptr(gaps) * gapBytes)
	pl.arena = take(uintptr(len(p.arena)) + wordBytes) // every string ends
	pl.texts = take(p.textBytes())
	pl.end = take(0)
	return pl
}

// textBytes is how long the steps' texts are, if somebody reads them who does not have the program.
func (p *Program) textBytes() (n uintptr) {
	released := false
	for i := range p.calls {
		released = released || p.calls[i].nr == opRelease
		n += uintptr(len(p.calls[i].step))
	}
	if !released {
		return 0
	}
	return n
}

// writeArena copies the arena and puts in what is known only now.
func (p *Program) writeArena(to []byte, base uintptr, n numbers) {
	copy(to, p.arena)
	for _, r := range p.relocs {
		binary.NativeEndian.PutUint64(to[r.at:], uint64(r.resolve(base, n.program, n.stdio)))
	}
}

func (p *Program) writeCalls(img *image, pl places, n numbers) error {
	calls := unsafe.Slice((*childCall)(img.at(pl.calls)), len(p.calls))
	text := pl.texts
	for i := range p.calls {
		from, to := &p.calls[i], &calls[i]
		to.nr = uintptr(from.nr)
		copy(to.ignore[:], from.ignore)
		if pl.texts < pl.end {
			to.step, to.stepLen = img.base+text, uintptr(copy(img.bytes()[text:], from.step))
			text += to.stepLen
		}
		for j, a := range from.args[:from.nargs] {
			if a.kind == argReg {
				to.reg[j] = uint16(a.val) + 1
				continue
			}
			if a.kind == argStdio && n.stdio[a.val] < 0 {
				return errdefs.Invalid("start process: %s: the launcher has no stdio %d", from.step, a.val)
			}
			to.arg[j] = a.resolve(img.base+pl.arena, n.program, n.stdio)
		}
		if from.nr == sysClone3 {
			to.arg[0] = img.base + unsafe.Offsetof(img.plan().second)
			to.arg[1] = unsafe.Sizeof(img.plan().second)
		}
	}
	return nil
}
