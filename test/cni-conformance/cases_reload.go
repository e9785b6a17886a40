package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// reloadCases ask what becomes of published ports when others write their rules anew.
func reloadCases() []testCase {
	return []testCase{
		{"portmap/after a reload of the firewall, CHECK with BERTH_CNI_REPAIR=1 puts back what is gone", reload},
	}
}

// tool runs a program in the host's namespace.
func (e *env) tool(stdin, name string, args ...string) (string, error) {
	if _, err := exec.LookPath(name); err != nil {
		return "", lacking(name)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out []byte
	err := e.host.Do(func() (err error) {
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		err = fmt.Errorf("%s %v: %w: %s", name, args, err, out)
	}
	return string(out), err
}

// reload does what a restart of firewalld, or a script of nft's, does.
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
	const others = `flush ruleset
table inet firewalld {
	chain nat_pre { type nat hook prerouting priority dstnat + 10; policy accept; tcp dport 7777 redirect to :7778; }
	chain forward { type filter hook forward priority filter + 10; policy accept; ct state established,related accept; tcp dport 81 drop; }
}
`
	if _, err := e.tool(others, "nft", "-f", "-"); err != nil {
		return err
	}
	if err := refused(outside, "tcp", "192.0.2.1:8080"); err != nil {
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
	dump, err := e.tool("", "nft", "list", "ruleset")
	if err == nil && !strings.Contains(dump, "table inet firewalld") {
		err = errors.New("the rules of others are gone")
	}
	if err := e.serve(e.host, 7778); err != nil {
		return err
	}
	_, otherErr := ask(outside, "tcp", "192.0.2.1:7777")
	return errors.Join(err, otherErr, reach(outside, "192.0.2.1:8080", "192.0.2.2"), reach(e.host, "127.0.0.1:8080", ""),
		e.check("portmap", c, ports, raw), e.check("bridge", c, e.bridge(), raw))
}
