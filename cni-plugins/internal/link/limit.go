package link

import (
	"fmt"
	"math"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Limit is a rate in bit/s and how much may go at once, in bit. The zero value limits nothing.
type Limit struct {
	Rate, Burst uint64
}

// Validate refuses limits that the kernel can't keep. way, "ingress" or "egress", is what their keys begin with.
func (l Limit) Validate(way string) error {
	switch {
	case l.Rate == 0 && l.Burst == 0:
		return nil
	case l.Rate < 8 || l.Burst < 8:
		return errdefs.Invalid("%[1]sRate %[2]d bit/s and %[1]sBurst %[3]d bit must both be given, and be 8 or more", way, l.Rate, l.Burst)
	case l.Burst/8 > math.MaxUint32:
		return errdefs.Invalid("%sBurst %d bit is more than the kernel takes, %d", way, l.Burst, uint64(math.MaxUint32)*8)
	case !l.hasRoom():
		return errdefs.Invalid("%[1]sBurst %[2]d bit takes no time at %[1]sRate %[3]d bit/s, as far as the kernel counts it (%[4]d ns)", way, l.Burst, l.Rate, tick)
	}
	return nil
}

// tick is the packet scheduler's unit of time, in nanoseconds (PSCHED_SHIFT).
const tick = 64

// hasRoom tells whether a byte goes through in the time that the kernel knows as the burst's; else it refuses the limit (tbf_change).
func (l Limit) hasRoom() bool {
	rate := l.Rate / 8
	return float64(ticks(l.Burst/8, rate)*tick)*float64(rate) >= 1e9
}

// latency is how long a packet may wait in the queue of a limit, in microseconds; more would be dropped.
const latency = 25_000

// SetLimit limits what a link sends, by a token bucket (tc-tbf). It replaces a limit that was there.
func SetLimit(h *netlink.Handle, l netlink.Link, limit Limit) error {
	if limit.Rate == 0 {
		return nil
	}
	rate, burst := limit.Rate/8, limit.Burst/8 // bytes
	err := h.QdiscReplace(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       rate,
		Limit:      limit.queue(),
		Buffer:     uint32(min(ticks(burst, rate), math.MaxUint32)),
	})
	if err != nil {
		return fmt.Errorf("limit %s to %d bit/s: %w", l.Attrs().Name, limit.Rate, err)
	}
	return nil
}

// queue is how many bytes may wait.
func (l Limit) queue() uint32 {
	return uint32(min(l.Rate/8*latency/1_000_000+l.Burst/8, math.MaxUint32))
}

// ticks is how long the burst takes at the rate, in the packet scheduler's unit.
func ticks(burst, rate uint64) uint64 {
	micros := float64(burst) / float64(rate) * 1e6
	return uint64(micros * netlink.TickInUsec())
}

// HasLimit tells whether a link has the limit.
func HasLimit(h *netlink.Handle, l netlink.Link, limit Limit) (bool, error) {
	if limit.Rate == 0 {
		return true, nil
	}
	list, err := dump(func() ([]netlink.Qdisc, error) { return h.QdiscList(l) })
	if err != nil {
		return false, fmt.Errorf("list queues of %s: %w", l.Attrs().Name, err)
	}
	for _, q := range list {
		if tbf, ok := q.(*netlink.Tbf); ok && tbf.Rate == limit.Rate/8 {
			return true, nil
		}
	}
	return false, nil
}
