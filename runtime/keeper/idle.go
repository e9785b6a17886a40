package keeper

import (
	"runtime/debug"
	"time"
)

// idler gives memory back to the system when nothing has happened for a while.
type idler struct{ timer *time.Timer }

const idleAfter = 3 * time.Second

func newIdler() *idler {
	return &idler{timer: time.AfterFunc(idleAfter, debug.FreeOSMemory)}
}

// touch says that something happens.
func (i *idler) touch() { i.timer.Reset(idleAfter) }
