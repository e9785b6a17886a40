package nft

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

// chains are the names of those of the table.
func (f *Firewall) chains(t *testing.T) []string {
	t.Helper()
	testutil.Must(t, f.connect())
	list, err := f.conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	testutil.Must(t, err)
	var names []string
	for _, c := range list {
		if c.Table.Name == tableName {
			names = append(names, c.Name)
		}
	}
	return names
}

func (f *Firewall) wantChains(t *testing.T, there, missing []string) {
	t.Helper()
	names := f.chains(t)
	for _, c := range there {
		if !slices.Contains(names, c) {
			t.Errorf("chain %s is missing among %v", c, names)
		}
	}
	for _, c := range missing {
		if slices.Contains(names, c) {
			t.Errorf("chain %s is among %v", c, names)
		}
	}
}

func of1(container, link string) Attachment {
	return Attachment{Owner: Owner{"net", container, "eth0"}, Link: link}
}

// A host with one network has no chain that each forwarded packet passes; the second network brings it.
func TestPartsAreForThoseWhoNeedThem(t *testing.T) {
	f := open(t, "brt0")
	a, again, b, c, d := of1("a", "brt0"), of1("a2", "brt0"), of1("b", "brt1"), of1("c", "brt2"), of1("d", "brt3")
	a.Isolated, again.Isolated, b.Isolated, c.Internal, d.Private = true, true, true, true, true
	testutil.Must(t, errors.Join(f.Add(a), f.Add(again), f.Check(a)))
	f.wantChains(t, []string{"guard_in", "guard_nat"}, []string{"isolate", "border", "guard", "forward"})
	testutil.Must(t, f.Add(b))
	f.wantChains(t, []string{"isolate"}, []string{"border"})
	testutil.Must(t, errors.Join(f.Add(c), f.Check(a), f.Check(b), f.Check(c)))
	f.wantChains(t, []string{"isolate", "border"}, nil)

	f.conn.DelSet(f.obj.isolateRevision)
	testutil.Must(t, f.conn.Flush())
	if err := f.Check(a); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("without what keeps it apart: %v", err)
	}
	testutil.Must(t, errors.Join(f.Add(a), f.Check(a), f.Check(b)))
	_, err := f.Collect("net", nil, func(string) bool { return true })
	testutil.Must(t, errors.Join(err, f.Add(d)))
	f.wantChains(t, []string{"border"}, []string{"isolate"})
	_, err = f.Collect("net", nil, func(string) bool { return true })
	testutil.Must(t, err)
}

// writeFormer writes a table as revision 5 did, as far as it differs: with chains that are gone now, and an isolated and internal links.
func (f *Firewall) writeFormer(t *testing.T, internal ...string) {
	t.Helper()
	testutil.Must(t, f.connect())
	o := newObjects()
	o.revision.Name = "revision5"
	p := o.publishing()
	p.sets, p.chains = append(p.sets, o.internal, o.private), []*nftables.Chain{o.guard, o.forward}
	p.rules, p.former = []rule{{o.forward, verdict(expr.VerdictDrop)}, {o.guard, verdict(expr.VerdictDrop)}}, nil
	testutil.Must(t, o.write(f.conn, p, nil))
	testutil.Must(t, f.conn.SetAddElements(o.isolated, []nftables.SetElement{{Key: linkKey("brt0")}}))
	for _, name := range internal {
		testutil.Must(t, f.conn.SetAddElements(o.internal, []nftables.SetElement{{Key: linkKey(name)}}))
	}
	testutil.Must(t, f.conn.Flush())
}

// What earlier code wrote gets the rules of now, and what its networks need.
func TestFormerTables(t *testing.T) {
	for _, tc := range []struct {
		name           string
		link           string // that is isolated, beside the one that is there
		internal       []string
		there, missing []string
	}{
		{"one network", "brt0", nil, nil, []string{"isolate", "border"}},
		{"two networks", "brt1", nil, []string{"isolate"}, []string{"border"}},
		{"an internal one", "brt0", []string{"brt7"}, []string{"border"}, []string{"isolate"}},
		{"a link that is not isolated", "", []string{"brt7"}, []string{"border"}, []string{"isolate"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := open(t, "brt0")
			a := of1("a", tc.link)
			if a.Isolated = tc.link != ""; !a.Isolated {
				a.Link = "brt5"
			}
			for range 2 { // the second time, earlier code has come between
				f.writeFormer(t, tc.internal...)
				if err := f.Check(a); !errors.Is(err, errdefs.ErrNotFound) {
					t.Errorf("the table of before is as it should be: %v", err)
				}
				testutil.Must(t, errors.Join(f.Add(a), f.Check(a)))
				f.wantChains(t, append(tc.there, "guard_in"), append(tc.missing, "guard", "forward"))
			}
			present, err := f.dumper.sets()
			if testutil.Must(t, err); present["revision5"] {
				t.Error("the marker of before is there")
			}
			now, err := f.read(everything, all)
			testutil.Must(t, err)
			for _, link := range append(tc.internal, "brt0") {
				if !slices.ContainsFunc(now.elements, func(e element) bool { return e.link == link && e.set != f.obj.link }) {
					t.Errorf("what %s is was lost", link)
				}
			}
			_, err = f.Collect("net", nil, func(string) bool { return true })
			testutil.Must(t, err)
		})
	}
}
