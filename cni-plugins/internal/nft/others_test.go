package nft

import (
	"testing"

	"github.com/google/nftables"

	"github.com/berth-runtime/berth/internal/testutil"
)

func TestObstacle(t *testing.T) {
	f := open(t, "brt0")
	want := func(text string) {
		t.Helper()
		if got, err := f.Obstacle("brt0"); err != nil || got != text {
			t.Errorf("%q, %v, want %q", got, err, text)
		}
	}
	want("")
	testutil.Must(t, f.connect())
	filter := f.conn.AddTable(&nftables.Table{Name: "filter", Family: nftables.TableFamilyIPv4})
	other := f.conn.AddTable(&nftables.Table{Name: "other", Family: nftables.TableFamilyINet})
	base := func(table *nftables.Table, name string, hook *nftables.ChainHook, policy nftables.ChainPolicy) {
		f.conn.AddChain(&nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter, Policy: &policy})
	}
	base(filter, "INPUT", nftables.ChainHookInput, nftables.ChainPolicyDrop)
	base(other, "open", nftables.ChainHookForward, nftables.ChainPolicyAccept)
	testutil.Must(t, f.conn.Flush())
	want("")
	base(filter, "FORWARD", nftables.ChainHookForward, nftables.ChainPolicyDrop)
	testutil.Must(t, f.conn.Flush())
	want("ip filter FORWARD: what they do not accept is dropped, packets from and to brt0 too; accept them: " +
		"iptables -I FORWARD -i brt0 -j ACCEPT; iptables -I FORWARD -o brt0 -j ACCEPT")
	f.conn.AddChain(&nftables.Chain{Name: userChain, Table: filter})
	base(other, "shut", nftables.ChainHookForward, nftables.ChainPolicyDrop)
	testutil.Must(t, f.conn.Flush())
	want("ip filter FORWARD, inet other shut: what they do not accept is dropped, packets from and to brt0 too; accept them: " +
		"iptables -I DOCKER-USER -i brt0 -j ACCEPT; iptables -I DOCKER-USER -o brt0 -j ACCEPT")
	f.conn.DelTable(filter)
	f.conn.DelTable(other)
	testutil.Must(t, f.conn.Flush())
}
