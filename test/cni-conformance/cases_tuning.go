package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

func (e *env) tuning() object {
	return object{
		"cniVersion": "1.1.0", "name": "net", "type": "tuning", "dataDir": e.dir + "/tuning",
		"mac": "0a:00:00:00:00:01", "mtu": 1300, "promisc": true, "allmulti": true, "txQLen": 77,
		"sysctl": object{"net.ipv4.conf.IFNAME.forwarding": "1", "net.core.somaxconn": "99"},
	}
}

// tuningCases ask the plugin that changes settings of the container's interface.
func tuningCases() []testCase {
	return []testCase{
		{"tuning/sets what it should, and says so in the result", tuned},
		{"tuning/DEL puts link settings back", behindBridge(untuned)},
		{"tuning/a failed ADD changes nothing", behindBridge(tuneFails)},
		{"tuning/mac by CNI_ARGS, capability, args", tuneMAC},
		{"tuning/args change sysctls, mtu", tuneArgs},
		{"tuning/settings of the node are refused", behindBridge(tuneNode)},
		{"tuning/a sysctl given twice is refused", tuneTwice},
		{"tuning/the allow list of the node", behindBridge(tuneAllowList)},
		{"tuning/CHECK finds a changed setting", tuneCheck},
		{"tuning/bad values are code 7", behindBridge(tuneBad)},
		{"tuning/GC forgets what is not valid", tuneGC},
		{"tuning/DEL of a lost container's successor changes nothing", tuneSuccessor},
	}
}

// behindBridge is a case that begins with a container that the bridge plugin has attached; tune is ADD after that, with changes of the
// configuration.
func behindBridge(ask func(e *env, c *container, tune func(change object) error) error) func(*env) error {
	return func(e *env) error {
		c, _, raw, err := e.attached("c1", e.bridge())
		if err != nil {
			return err
		}
		return ask(e, c, func(change object) error {
			_, _, err := e.add("tuning", c, with(with(e.tuning(), change), object{"prevResult": raw}))
			return err
		})
	}
}

// settings shows what the cases change in a container.
func settings(c *container) (string, error) {
	l, err := c.ns.Netlink().LinkByName("eth0")
	if err != nil {
		return "", err
	}
	var sysctls []string
	err = c.ns.Do(func() error {
		for _, path := range []string{"ipv4/conf/eth0/forwarding", "core/somaxconn"} {
			data, err := os.ReadFile("/proc/sys/net/" + path)
			if err != nil {
				return err
			}
			sysctls = append(sysctls, strings.TrimSpace(string(data)))
		}
		return nil
	})
	a := l.Attrs()
	return fmt.Sprint(a.HardwareAddr, " ", a.MTU, " ", a.RawFlags&syscall.IFF_PROMISC != 0, " ", a.RawFlags&syscall.IFF_ALLMULTI != 0, " ", a.TxQLen, " ", sysctls), err
}

func wantSettings(c *container, want string) error {
	if got, err := settings(c); err != nil || got != want {
		return saw(err, "settings %q, want %q", got, want)
	}
	return nil
}

const tunedSettings = "0a:00:00:00:00:01 1300 true true 77 [1 99]"

func tuned(e *env) error {
	c, _, after, err := e.behind("c1", "tuning", e.tuning())
	if err != nil {
		return err
	}
	if err := wantSettings(c, tunedSettings); err != nil {
		return err
	}
	result, _, err := resultOf("1.1.0", after)
	if err != nil {
		return err
	}
	if l := result.Interfaces[2]; l.Mac != "0a:00:00:00:00:01" || l.Mtu != 1300 {
		return fmt.Errorf("the result says %+v", l)
	}
	return nil
}

func untuned(e *env, c *container, tune func(object) error) error {
	before, err := settings(c)
	if err != nil {
		return err
	}
	links := object{"sysctl": nil} // the CNI project's plugin leaves sysctls as they are
	if err := tune(links); err != nil {
		return err
	}
	conf := with(e.tuning(), links)
	return errors.Join(e.del("tuning", c, conf), wantSettings(c, before), e.del("tuning", c, conf), wantSettings(c, before))
}

func tuneFails(e *env, c *container, tune func(object) error) error {
	before, err := settings(c)
	if err != nil {
		return err
	}
	for _, wrong := range []object{
		{"mtu": 1 << 20},
		{"sysctl": object{"net.ipv4.conf.IFNAME.forwarding": "1", "net.core.somaxconn": "x"}},
	} {
		if tune(wrong) == nil {
			return fmt.Errorf("%v is accepted", wrong)
		}
		if err := wantSettings(c, before); err != nil {
			return fmt.Errorf("after %v: %w", wrong, err)
		}
	}
	return nil
}

func tuneMAC(e *env) error {
	for i, how := range []struct {
		args string
		conf object
	}{
		{"IgnoreUnknown=1;MAC=0a:00:00:00:00:02", nil},
		{"", object{"runtimeConfig": object{"mac": "0a:00:00:00:00:02"}}},
		{"", object{"args": object{"cni": object{"mac": "0a:00:00:00:00:02"}}}},
	} {
		c, _, raw, err := e.attached(fmt.Sprint("c", i), e.bridge())
		if err != nil {
			return err
		}
		conf := with(with(e.tuning(), how.conf), object{"prevResult": raw})
		if _, err := e.run(call{plugin: "tuning", verb: "ADD", c: c, args: how.args}, conf); err != nil {
			return err
		}
		if got, err := settings(c); err != nil || !strings.HasPrefix(got, "0a:00:00:00:00:02 ") {
			return saw(err, "%+v: %s", how, got)
		}
	}
	return nil
}

func tuneArgs(e *env) error {
	conf := with(e.tuning(), object{"args": object{"cni": object{"mtu": 1200, "promisc": false, "sysctl": object{"net.core.somaxconn": "98"}}}})
	c, _, _, err := e.behind("c1", "tuning", conf)
	if err != nil {
		return err
	}
	return wantSettings(c, "0a:00:00:00:00:01 1200 false true 77 [1 98]")
}

func tuneNode(_ *env, _ *container, tune func(object) error) error {
	var errs []error
	for _, key := range []string{"kernel.msgmax", "net.ipv4.tcp_mem", "net/../kernel/msgmax", "vm.swappiness"} {
		if tune(object{"sysctl": object{key: "8192"}}) == nil {
			errs = append(errs, fmt.Errorf("%s is accepted", key))
		}
	}
	return errors.Join(errs...)
}

func tuneTwice(e *env) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	_, err = e.run(call{plugin: "tuning", verb: "ADD", c: c, stdin: []byte(`{"cniVersion":"1.1.0","name":"net","type":"tuning",
		"sysctl":{"net.core.somaxconn":"1","net.core.somaxconn":"2"},"prevResult":{"cniVersion":"1.1.0"}}`)}, nil)
	if err == nil {
		return errors.New("it is accepted")
	}
	return nil
}

// tuneAllowList hides /etc of the suite's mount namespace behind one that has the list.
func tuneAllowList(e *env, _ *container, tune func(object) error) error {
	if err := syscall.Mount("tmpfs", "/etc", "tmpfs", 0, ""); err != nil {
		return err
	}
	e.cu.Add(func() error { return syscall.Unmount("/etc", syscall.MNT_DETACH) })
	const path = "/etc/cni/tuning/allowlist.conf"
	err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("^net\\.ipv4\\.conf\\.\n\n"), 0o600))
	if err != nil {
		return err
	}
	if err := tune(object{"sysctl": object{"net.ipv4.conf.IFNAME.forwarding": "1"}}); err != nil {
		return err
	}
	if tune(nil) == nil {
		return errors.New("a sysctl that is not in the list is accepted")
	}
	return nil
}

func tuneCheck(e *env) error {
	c, _, after, err := e.behind("c1", "tuning", e.tuning())
	if err != nil {
		return err
	}
	l, err := c.ns.Netlink().LinkByName("eth0")
	if err != nil {
		return err
	}
	h := c.ns.Netlink()
	var errs []error
	for what, change := range map[string][2]func() error{
		"mtu":      {func() error { return h.LinkSetMTU(l, 1299) }, func() error { return h.LinkSetMTU(l, 1300) }},
		"promisc":  {func() error { return h.SetPromiscOff(l) }, func() error { return h.SetPromiscOn(l) }},
		"allmulti": {func() error { return h.LinkSetAllmulticastOff(l) }, func() error { return h.LinkSetAllmulticastOn(l) }},
		"txQLen":   {func() error { return h.LinkSetTxQLen(l, 76) }, func() error { return h.LinkSetTxQLen(l, 77) }},
		"sysctl": {
			func() error { return setSysctl(c.ns, "net/core/somaxconn", "98") }, func() error { return setSysctl(c.ns, "net/core/somaxconn", "99") },
		},
	} {
		if err := change[0](); err != nil {
			return err
		}
		if e.check("tuning", c, e.tuning(), after) == nil {
			errs = append(errs, fmt.Errorf("CHECK says nothing about %s", what))
		}
		errs = append(errs, change[1](), e.check("tuning", c, e.tuning(), after))
	}
	return errors.Join(errs...)
}

func tuneBad(_ *env, _ *container, tune func(object) error) error {
	var errs []error
	for _, wrong := range []object{
		{"mac": "x"},
		{"mac": "01:00:5e:00:00:01"},
		{"mtu": -1},
		{"txQLen": -1},
		{"sysctl": object{"kernel.hostname": "x"}},
		{"sysctl": object{"net.core.no_such_setting": "1"}},
		{"dataDir": "relative"},
	} {
		if err := wantCode(tune(wrong), 7); err != nil {
			errs = append(errs, fmt.Errorf("%v: %w", wrong, err))
		}
	}
	return errors.Join(errs...)
}

// records lists the files that a plugin keeps below a folder of the case.
func (e *env) records(folder string) ([]string, error) {
	var list []string
	err := filepath.WalkDir(filepath.Join(e.dir, folder), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, path)
		}
		return err
	})
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return list, err
}

func tuneGC(e *env) error {
	if _, _, _, err := e.behind("stale", "tuning", e.tuning()); err != nil {
		return err
	}
	kept, _, after, err := e.behind("kept", "tuning", e.tuning())
	if err != nil {
		return err
	}
	if err := e.gc("tuning", e.tuning(), kept); err != nil {
		return err
	}
	if list, err := e.records("tuning"); err != nil || len(list) != 1 {
		return saw(err, "of two records, %v are left", list)
	}
	return errors.Join(e.check("tuning", kept, e.tuning(), after), e.del("tuning", kept, e.tuning()))
}

// tuneSuccessor loses a container without DEL; the next one of its name must not get its values.
func tuneSuccessor(e *env) error {
	lost, _, _, err := e.behind("c1", "tuning", e.tuning())
	if err != nil {
		return err
	}
	if err := lost.remove(); err != nil {
		return err
	}
	if err := e.del("bridge", lost, e.bridge()); err != nil {
		return err
	}
	next, _, _, err := e.attached("c1-next", e.bridge())
	if err != nil {
		return err
	}
	before, err := settings(next)
	if err != nil {
		return err
	}
	next.id = "c1"
	return errors.Join(e.del("tuning", next, e.tuning()), wantSettings(next, before))
}
