package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	current "github.com/containernetworking/cni/pkg/types/100"
)

// hostLocalCases ask the address management plugin by itself.
func hostLocalCases() []testCase {
	return append(poolCases(), []testCase{
		{"host-local/one address of each set, gateway and routes", setsAndRoutes},
		{"host-local/goes on after the last address", roundRobin},
		{"host-local/requested address by CNI_ARGS, args and capability", requested},
		{"host-local/requested address outside of the ranges", requestedOutside},
		{"host-local/used up is code 11 and STATUS 50", usedUp},
		{"host-local/a failed ADD takes nothing of the other sets", allOrNothing},
		{"host-local/second ADD of one interface is refused", secondAllocation},
		{"host-local/DEL frees, twice, and frees only its own", freesOwn},
		{"host-local/CHECK", hostLocalCheck},
		{"host-local/GC", hostLocalGC},
		{"host-local/a reboot frees everything", reboot},
		{"host-local/a crashed container's address is not lost", func(e *env) error { return crashedOwner(e, false) }},
		{"host-local/a crashed container's address is not lost when another namespace has its path", func(e *env) error { return crashedOwner(e, true) }},
		{"host-local/state cut in half: nothing is given twice", cutInHalf},
		{"host-local/disk full: clear error, nothing lost", diskFull},
		{"host-local/resolvConf", resolvConf},
		{"host-local/bad ranges are code 7", badRanges},
	}...)
}

// take asks for addresses for a container; the namespace is only a name to this plugin.
func (e *env) take(name string, conf object) (*current.Result, error) {
	c, err := e.container(name)
	if err != nil {
		return nil, err
	}
	result, _, err := e.add("host-local", c, conf)
	return result, err
}

func (e *env) ranges(sets ...any) object {
	return with(e.hostLocal(), object{"ipam": with(e.ipam(), object{"ranges": sets})})
}

func set(ranges ...object) []any {
	var list []any
	for _, r := range ranges {
		list = append(list, r)
	}
	return list
}

func addresses(r *current.Result) string {
	var list []string
	for _, ip := range r.IPs {
		list = append(list, ip.Address.String())
	}
	return strings.Join(list, " ")
}

func wantAddresses(r *current.Result, err error, want string) error {
	if err != nil {
		return err
	}
	if got := addresses(r); got != want {
		return fmt.Errorf("it gave %q, want %q", got, want)
	}
	return nil
}

func setsAndRoutes(e *env) error {
	conf := e.ranges(set(object{"subnet": "10.9.0.0/24", "rangeStart": "10.9.0.9", "gateway": "10.9.0.9"}), set(object{"subnet": "fd09::/64"}))
	ipam, _ := conf["ipam"].(object)
	conf["ipam"] = with(ipam, object{"routes": []any{object{"dst": "0.0.0.0/0"}, object{"dst": "10.0.0.0/8", "gw": "10.9.0.3", "mtu": 1300}}})
	r, err := e.take("c1", conf)
	if err := wantAddresses(r, err, "10.9.0.10/24 fd09::2/64"); err != nil {
		return err
	}
	if r.IPs[0].Gateway.String() != "10.9.0.9" || len(r.Routes) != 2 || r.Routes[1].MTU != 1300 || r.Routes[1].GW.String() != "10.9.0.3" {
		return fmt.Errorf("gateway %s, routes %v", r.IPs[0].Gateway, r.Routes)
	}
	return nil
}

func roundRobin(e *env) error {
	conf := e.ranges(set(object{"subnet": "10.9.0.0/29"})) // .2 to .6
	for i, want := range []string{"10.9.0.2/29", "10.9.0.3/29", "10.9.0.4/29", "10.9.0.5/29", "10.9.0.6/29", "10.9.0.2/29"} {
		r, err := e.take(fmt.Sprint("c", i), conf)
		if err := wantAddresses(r, err, want); err != nil {
			return err
		}
		if err := e.del("host-local", &container{id: fmt.Sprint("c", i), path: "/gone"}, conf); err != nil {
			return err
		}
	}
	return nil
}

func requested(e *env) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	out, err := e.run(call{plugin: "host-local", verb: "ADD", c: c, args: "IgnoreUnknown=1;IP=10.9.0.50"}, e.hostLocal())
	if err != nil || !strings.Contains(string(out), "10.9.0.50/24") {
		return saw(err, "CNI_ARGS: %s", out)
	}
	r, err := e.take("c2", with(e.hostLocal(), object{"args": object{"cni": object{"ips": []string{"10.9.0.51"}}}}))
	if err := wantAddresses(r, err, "10.9.0.51/24"); err != nil {
		return fmt.Errorf("args: %w", err)
	}
	r, err = e.take("c3", with(e.hostLocal(), object{"runtimeConfig": object{"ips": []string{"10.9.0.52/24"}}}))
	if err := wantAddresses(r, err, "10.9.0.52/24"); err != nil {
		return fmt.Errorf("capability: %w", err)
	}
	if _, err := e.take("c4", with(e.hostLocal(), object{"runtimeConfig": object{"ips": []string{"10.9.0.52"}}})); err == nil {
		return errors.New("an address was given twice")
	}
	return nil
}

func requestedOutside(e *env) error {
	if _, err := e.take("c1", with(e.hostLocal(), object{"runtimeConfig": object{"ips": []string{"10.8.0.2"}}})); err == nil {
		return errors.New("it succeeded")
	}
	return e.nothingReserved()
}

func usedUp(e *env) error {
	conf := e.ranges(set(object{"subnet": "10.9.0.0/30"}))
	if _, err := e.take("c1", conf); err != nil {
		return err
	}
	_, err := e.take("c2", conf)
	return errors.Join(wantCode(err, 11), wantCode(e.status("host-local", conf), 50))
}

func allOrNothing(e *env) error {
	conf := e.ranges(set(object{"subnet": "10.9.0.0/24"}), set(object{"subnet": "10.10.0.0/30"}))
	if _, err := e.take("c1", conf); err != nil {
		return err
	}
	if _, err := e.take("c2", conf); err == nil {
		return errors.New("it succeeded")
	}
	if path, err := e.reserved("10.9.0.3"); err == nil {
		return fmt.Errorf("10.9.0.3 is reserved in %s", path)
	}
	return nil
}

func secondAllocation(e *env) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	if _, _, err := e.add("host-local", c, e.hostLocal()); err != nil {
		return err
	}
	if _, _, err := e.add("host-local", c, e.hostLocal()); err == nil {
		return errors.New("the second ADD succeeded")
	}
	_, err = e.reserved("10.9.0.2")
	return err
}

func freesOwn(e *env) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	for _, name := range []string{"eth0", "eth1"} {
		if _, err := e.run(call{plugin: "host-local", verb: "ADD", c: c, ifName: name}, e.hostLocal()); err != nil {
			return err
		}
	}
	for range 2 {
		if err := e.del("host-local", c, e.hostLocal()); err != nil {
			return err
		}
	}
	if _, err := e.reserved("10.9.0.3"); err != nil {
		return fmt.Errorf("DEL of eth0 freed that of eth1: %w", err)
	}
	if _, err := e.reserved("10.9.0.2"); err == nil {
		return errors.New("DEL freed nothing")
	}
	return nil
}

func hostLocalCheck(e *env) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	_, raw, err := e.add("host-local", c, e.hostLocal())
	if err != nil {
		return err
	}
	if err := e.check("host-local", c, e.hostLocal(), raw); err != nil {
		return err
	}
	if err := e.del("host-local", c, e.hostLocal()); err != nil {
		return err
	}
	if e.check("host-local", c, e.hostLocal(), raw) == nil {
		return errors.New("CHECK succeeds after DEL")
	}
	return nil
}

func hostLocalGC(e *env) error {
	for _, name := range []string{"c1", "c2"} {
		if _, err := e.take(name, e.hostLocal()); err != nil {
			return err
		}
	}
	if err := e.gc("host-local", e.hostLocal(), &container{id: "c2"}); err != nil {
		return err
	}
	if _, err := e.reserved("10.9.0.2"); err == nil {
		return errors.New("c1's address is still reserved")
	}
	_, err := e.reserved("10.9.0.3")
	return err
}

// reboot gives the state another boot id.
func reboot(e *env) error {
	conf := e.ranges(set(object{"subnet": "10.9.0.0/30"}))
	if _, err := e.take("c1", conf); err != nil {
		return err
	}
	path, err := e.reserved("10.9.0.2")
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	other := strings.ReplaceAll(string(data), strings.TrimSpace(string(boot)), "00000000-0000-0000-0000-000000000000")
	if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
		return err
	}
	_, err = e.take("c2", conf)
	return err
}

// crashedOwner destroys a namespace without DEL, as a crash of the runtime does. The next one at the path often has the same inode number.
func crashedOwner(e *env, succeeded bool) error {
	conf := e.ranges(set(object{"subnet": "10.9.0.0/30"}))
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	if _, _, err := e.add("host-local", c, conf); err != nil {
		return err
	}
	if err := c.remove(); err != nil {
		return err
	}
	if succeeded {
		if _, err := e.container("c1"); err != nil {
			return err
		}
	}
	_, err = e.take("c2", conf)
	return err
}

func cutInHalf(e *env) error {
	for i := range 4 {
		if _, err := e.take(fmt.Sprint("c", i), e.hostLocal()); err != nil {
			return err
		}
	}
	path, err := e.reserved("10.9.0.5")
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := os.Truncate(path, info.Size()/2); err != nil {
		return err
	}
	if r, err := e.take("c9", e.hostLocal()); err == nil && addresses(r) != "10.9.0.6/24" {
		return fmt.Errorf("it gave %s, which another container has", addresses(r))
	}
	if err := e.del("host-local", &container{id: "c3", path: "/gone"}, e.hostLocal()); err != nil {
		return fmt.Errorf("DEL must go on: %w", err)
	}
	if err := e.gc("host-local", e.hostLocal()); err != nil {
		return err
	}
	if err := e.nothingReserved(); err != nil {
		return err
	}
	_, err = e.take("c10", e.hostLocal())
	return err
}

// diskFull gives the state a file system of a few pages and fills it.
func diskFull(e *env) error {
	dir := filepath.Join(e.dir, "ipam")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		return err
	}
	e.cu.Add(func() error { return syscall.Unmount(dir, syscall.MNT_DETACH) })
	if _, err := e.take("c1", e.hostLocal()); err != nil {
		return err
	}
	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		return err
	}
	for err == nil {
		_, err = filler.Write(make([]byte, 512))
	}
	if err := filler.Close(); err != nil {
		return err
	}
	if _, err := e.take("c2", e.hostLocal()); err == nil { // there may be room where it writes
		if _, err := e.reserved("10.9.0.3"); err != nil {
			return fmt.Errorf("ADD succeeded on a full disk, and: %w", err)
		}
	}
	if err := os.Remove(filler.Name()); err != nil {
		return err
	}
	if _, err := e.reserved("10.9.0.2"); err != nil {
		return fmt.Errorf("c1's: %w", err)
	}
	r, err := e.take("c3", e.hostLocal())
	if err == nil && addresses(r) == "10.9.0.2/24" {
		return errors.New("c1's address was given away")
	}
	return err
}

func resolvConf(e *env) error {
	path := filepath.Join(e.dir, "resolv.conf")
	text := "# comment\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch a.example b.example\noptions ndots:2 edns0\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	r, err := e.take("c1", with(e.hostLocal(), object{"ipam": with(e.ipam(), object{"resolvConf": path})}))
	if err != nil {
		return err
	}
	if got := fmt.Sprint(r.DNS.Nameservers, r.DNS.Search, r.DNS.Options); got != "[192.0.2.53 2001:db8::53] [a.example b.example] [ndots:2 edns0]" {
		return fmt.Errorf("dns %s", got)
	}
	return nil
}

func badRanges(e *env) error {
	var errs []error
	for name, ranges := range map[string][]any{
		"none":         {},
		"host bits":    {set(object{"subnet": "10.9.0.1/24"})},
		"too small":    {set(object{"subnet": "10.9.0.0/31"})},
		"start after":  {set(object{"subnet": "10.9.0.0/24", "rangeStart": "10.9.0.9", "rangeEnd": "10.9.0.3"})},
		"outside":      {set(object{"subnet": "10.9.0.0/24", "rangeStart": "10.8.0.9"})},
		"overlap":      {set(object{"subnet": "10.9.0.0/24"}), set(object{"subnet": "10.9.0.128/25"})},
		"two families": {set(object{"subnet": "10.9.0.0/24"}, object{"subnet": "fd09::/64"})},
	} {
		_, err := e.take("c-"+strings.ReplaceAll(name, " ", "-"), e.ranges(ranges...))
		if wrong := wantCode(err, 7); wrong != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, wrong))
		}
	}
	return errors.Join(errs...)
}
