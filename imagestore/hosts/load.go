package hosts

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/berth-runtime/berth/internal/errdefs"
)

const (
	fileName  = "hosts.toml"
	defaults  = "_default"
	maxConfig = 1 << 20
)

// Load returns the hosts to ask for a registry ("docker.io", "localhost:5000"), in order. With dir "" or nothing in it
// for the registry, that is the registry itself: over https, or, on loopback, also http. A file that can't be
// understood is an error of kind Invalid which names file, line and key: guessing might send a pull to the wrong place.
func Load(dir, registry string) ([]Host, error) {
	if dir == "" {
		return []Host{own(registry)}, nil
	}
	for _, name := range folders(registry) {
		folder := filepath.Join(dir, name)
		data, err := readBounded(filepath.Join(folder, fileName))
		switch {
		case err == nil:
			found, err := parse(data, folder, registry, name == defaults)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", filepath.Join(folder, fileName), err)
			}
			return found, nil
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("read registry hosts: %w", err)
		}
		if fi, err := os.Stat(folder); err == nil && fi.IsDir() {
			return dockerStyle(folder, registry)
		}
	}
	return []Host{own(registry)}, nil
}

// folders lists where a registry's file may be, the best first. The form with underscores is for tools that can't
// have a colon in a file name.
func folders(registry string) []string {
	list := []string{registry, defaults}
	if name, port := splitPort(registry); port != "" {
		list = append([]string{name + "_" + port + "_"}, list...)
	}
	return list
}

// dockerStyle is a folder without hosts.toml: *.crt are CAs, *.cert with *.key client certificates.
func dockerStyle(folder, registry string) ([]Host, error) {
	h := own(registry)
	cas, err := filepath.Glob(filepath.Join(escape(folder), "*.crt"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", folder, err)
	}
	certs, err := filepath.Glob(filepath.Join(escape(folder), "*.cert"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", folder, err)
	}
	var pairs [][2]string
	for _, cert := range certs {
		pairs = append(pairs, [2]string{cert, cert[:len(cert)-len("cert")] + "key"})
	}
	if len(cas) > 0 {
		h.Local = false
	}
	if err := h.loadCertificates(folder, cas, pairs); err != nil {
		return nil, fmt.Errorf("read certificates of %s: %w", registry, err)
	}
	return []Host{h}, nil
}

// escape keeps a folder's brackets (IPv6 registries) from being a pattern.
func escape(folder string) string {
	var b []byte
	for i := range len(folder) {
		switch folder[i] {
		case '[', '*', '?', '\\':
			b = append(b, '\\')
		}
		b = append(b, folder[i])
	}
	return string(b)
}

func readBounded(path string) (_ []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxConfig {
		return nil, errdefs.Invalid("%s is larger than %d bytes", path, maxConfig)
	}
	return data, nil
}
