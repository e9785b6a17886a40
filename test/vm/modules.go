package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// wantedModules are what the tests use and the cloud kernel has as modules; one that is built in, or not there, is left out.
var wantedModules = []string{
	"virtio_pci", "virtio_blk", "overlay", "erofs", "loop", "veth", "bridge", "br_netfilter", "vxlan", "macvlan", "ipvlan", "dummy", "8021q",
	"nf_tables", "nft_chain_nat", "nft_masq", "nft_nat", "nft_ct", "nft_fib_inet", "nft_reject_inet", "nft_numgen", "nft_hash", "nft_redir",
	"nf_conntrack_netlink", "tcp_diag", "udp_diag", "sctp", "sctp_diag",
	"tun", "ifb", "sch_tbf", "sch_htb", "sch_ingress", "cls_u32", "act_mirred",
}

// module is a kernel module's name and content.
type module struct {
	name string
	data []byte
}

// loadModules returns the wanted modules and what they depend on, in the order in which they can be loaded.
func loadModules(dir string, wanted []string) ([]module, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if base, _, ok := strings.Cut(filepath.Base(path), ".ko"); ok && err == nil && !d.IsDir() {
			files[underscore(base)] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var ordered []module
	done := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		path, ok := files[underscore(name)]
		if !ok || done[name] {
			return nil
		}
		done[name] = true
		data, err := readModule(path)
		if err != nil {
			return err
		}
		needed, err := dependencies(data)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		for _, n := range needed {
			if err := add(n); err != nil {
				return err
			}
		}
		ordered = append(ordered, module{name: name, data: data})
		return nil
	}
	for _, name := range wanted {
		if err := add(underscore(name)); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}

func underscore(name string) string { return strings.ReplaceAll(name, "-", "_") }

// readModule reads a module, decompressed: the guest has no tools for that.
func readModule(path string) ([]byte, error) {
	if strings.HasSuffix(path, ".xz") {
		return exec.Command("xz", "-dc", path).Output()
	}
	return os.ReadFile(path)
}

// dependencies reads the modules that a module names in its .modinfo section.
func dependencies(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, nil
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	var names []string
	for field := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := bytes.CutPrefix(field, []byte("depends=")); ok && len(list) > 0 {
			for n := range strings.SplitSeq(string(list), ",") {
				names = append(names, underscore(n))
			}
		}
	}
	return names, nil
}
