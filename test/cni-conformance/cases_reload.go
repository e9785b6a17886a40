package main

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
)

// reloadCases ask what becomes of published ports when others write their rules anew.
func reloadCases() []testCase {
	return []testCase{
		{"portmap/after a reload of the firewall, CHECK with BERTH_CNI_REPAIR=1 puts back what is gone", reload},
	}
}

// loadOthers does what a restart of firewalld, or a script of nft's, does: in one transaction, all rules go and others come.
func (e *env) loadOthers() error {
	return e.host.Do(func() error {
		c, err := nftables.New(nftables.AsLasting())
		if err != nil {
			return err
		}
		c.FlushRuleset()
		table := c.AddTable(&nftables.Table{Name: "firewalld", Family: nftables.TableFamilyINet})
		c.AddChain(&nftables.Chain{
			Name: "filter_FORWARD", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityRef(10),
		})
		return errors.Join(c.Flush(), c.CloseLasting())
	})
}

// othersThere says what is wrong if the rules of others are not what they were.
func (e *env) othersThere() error {
	return e.host.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
		if err != nil {
			return err
		}
		for _, chain := range chains {
			if chain.Table.Name == "firewalld" && chain.Name == "filter_FORWARD" {
				return nil
			}
		}
		return errors.New("the rules of others are gone")
	})
}

func reload(e *env) error {
	outside, err := e.outside()
	if err != nil {
		return err
	}
	c, _, raw, err := e.attached("c1", e.bridge())
	if err != nil {
		return err
	}
	ports := portmapConf(both(8080, 80, ""), nil)
	if err := e.serve(c.ns, 80); err != nil {
		return err
	}
	if _, _, err := e.add("portmap", c, with(ports, object{"prevResult": raw})); err != nil {
		return err
	}
	if err := errors.Join(e.loadOthers(), refused(outside, "tcp", "192.0.2.1:8080")); err != nil {
		return fmt.Errorf("after the flush: %w", err)
	}
	for _, k := range []struct {
		plugin string
		conf   object
	}{{"bridge", e.bridge()}, {"portmap", ports}} {
		if _, err := e.run(call{plugin: k.plugin, verb: "CHECK", c: c, repair: true}, with(k.conf, object{"prevResult": raw})); err != nil {
			return err
		}
	}
	return errors.Join(reach(outside, "192.0.2.1:8080", "192.0.2.2"), reach(e.host, "127.0.0.1:8080", ""),
		e.check("portmap", c, ports, raw), e.check("bridge", c, e.bridge(), raw), e.othersThere())
}
