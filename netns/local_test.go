package netns_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/netns"
)

// An address is waited for before a link has it, so that it comes while the other side waits.
func TestLocalAddressesAreAwaited(t *testing.T) {
	testutil.RequireRoot(t)
	h, err := netns.Open(testutil.NewNetNS(t))
	testutil.Must(t, err)
	defer func() { testutil.Must(t, h.Close()) }()
	lo, err := h.Netlink().LinkByName("lo")
	testutil.Must(t, err)
	testutil.Must(t, h.Netlink().LinkSetUp(lo))
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.AwaitLocal(ended, addrs...); !errors.Is(err, context.Canceled) {
		t.Errorf("without the addresses: %v", err)
	}
	if err := h.AwaitLocal(ended, addrs[0]); err != nil {
		t.Errorf("of IPv4: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- h.AwaitLocal(ctx, addrs...) }()
	for _, text := range []string{"2001:db8::1/64", "2001:db8::2/64"} {
		select {
		case err := <-done:
			t.Fatalf("it did not wait for %s: %v", text, err)
		default:
		}
		a, err := netlink.ParseAddr(text)
		testutil.Must(t, err)
		testutil.Must(t, h.Netlink().AddrAdd(lo, a))
	}
	testutil.Must(t, <-done)
	testutil.Must(t, h.AwaitLocal(ended, addrs...))
}
