package hosts

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"path"
	"sort"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/berth-runtime/berth/internal/errdefs"
)

const maxHosts = 64

// table is one host's settings, as the file spells them. The same keys at the file's top are those of the server.
type table struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   *bool          `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
	DialTimeout  string         `toml:"dial_timeout"`
	Proxy        string         `toml:"proxy"`
}

type file struct {
	table
	Server string           `toml:"server"`
	Host   map[string]table `toml:"host"`
}

// parse reads one hosts.toml; folder is where its relative paths start.
func parse(data []byte, folder, registry string, isDefault bool) ([]Host, error) {
	var f file
	d := toml.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, explain(err)
	}
	if len(f.Host) > maxHosts {
		return nil, errdefs.Invalid("more than %d hosts", maxHosts)
	}
	var list []Host
	for _, address := range inOrder(data, f.Host) {
		h, err := f.Host[address].host(address, folder, registry)
		if err != nil {
			return nil, fmt.Errorf("host %q: %w", shown(address), err)
		}
		list = append(list, h)
	}
	server, err := f.server(folder, registry, isDefault)
	if err != nil {
		return nil, err
	}
	return append(list, server), nil
}

// server is asked last: the registry itself, or what the file puts in its place.
func (f file) server(folder, registry string, isDefault bool) (Host, error) {
	if f.Server == "" {
		h := own(registry)
		if err := f.apply(&h, folder); err != nil {
			return Host{}, err
		}
		return h, nil
	}
	h, err := f.host(f.Server, folder, registry)
	if err != nil {
		return Host{}, fmt.Errorf("server %q: %w", shown(f.Server), err)
	}
	h.Trusted = h.Trusted || !isDefault
	return h, nil
}

func (t table) host(address, folder, registry string) (Host, error) {
	h := Host{Resolve: true, Pull: true, TLS: newTLS()}
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Host{}, errdefs.Invalid("is not a URL like https://mirror.example:5000/path")
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return Host{}, errdefs.Invalid("scheme %q is not https or http", u.Scheme)
	}
	h.Scheme, h.Addr = u.Scheme, u.Host
	if h.Addr == dockerHub {
		h.Addr = dockerHubServer
	}
	h.Path = apiPath(u.EscapedPath(), t.OverridePath)
	h.Trusted = isRegistry(h.Addr, registry)
	if !h.Trusted {
		h.Namespace = registry
	}
	return h, t.apply(&h, folder)
}

// shown is an address fit for an error: what may be a user and a password is cut out.
func shown(address string) string {
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		return "…" + address[i:]
	}
	return address
}

// apiPath is the root of the API: the URL's path plus v2, unless the file says that the path is already the whole.
func apiPath(p string, override bool) string {
	p = strings.TrimSuffix(p, "/")
	if override || p == apiRoot || strings.HasSuffix(p, apiRoot) {
		return p
	}
	return path.Join("/", p, apiRoot)
}

// apply puts a table's settings into a host.
func (t table) apply(h *Host, folder string) error {
	if len(t.Capabilities) > 0 {
		h.Resolve, h.Pull = false, false
	}
	for _, c := range t.Capabilities {
		switch c {
		case "pull":
			h.Pull = true
		case "resolve":
			h.Resolve = true
		case "push", "referrers": // known to the format; berth does neither
		default:
			return errdefs.Invalid("capability %q is not pull, resolve or push", c)
		}
	}
	if t.SkipVerify != nil {
		h.TLS.InsecureSkipVerify, h.Local = *t.SkipVerify, false
	}
	if t.DialTimeout != "" {
		d, err := time.ParseDuration(t.DialTimeout)
		if err != nil || d <= 0 {
			return errdefs.Invalid("dial_timeout %q is not a duration like \"1s\"", t.DialTimeout)
		}
		h.DialTimeout = d
	}
	return errors.Join(t.applyHeader(h), t.applyProxy(h), t.applyCertificates(h, folder))
}

// inOrder returns the addresses of the host tables as they stand in the file, which a Go map forgets.
func inOrder(data []byte, tables map[string]table) []string {
	var list []string
	seen := map[string]bool{}
	p := unstable.Parser{}
	p.Reset(data)
	for top := true; p.NextExpression(); {
		e := p.Expression()
		if e.Kind == unstable.Table {
			top = false
		} else if !top {
			continue
		}
		keys := e.Key()
		if !keys.Next() || string(keys.Node().Data) != "host" || !keys.Next() {
			continue
		}
		address := string(keys.Node().Data)
		if _, known := tables[address]; known && !seen[address] {
			seen[address] = true
			list = append(list, address)
		}
	}
	var inline []string // host = { … }: in no order that could be told
	for address := range tables {
		if !seen[address] {
			inline = append(inline, address)
		}
	}
	sort.Strings(inline)
	return append(list, inline...)
}

// explain turns a decoder's error into one that names line and key.
func explain(err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		line, _ := unknown.Errors[0].Position()
		return errdefs.Invalid("line %d: unknown key %q (known: server, host, capabilities, ca, client, skip_verify, header, override_path, dial_timeout, proxy)",
			line, strings.Join(unknown.Errors[0].Key(), "."))
	}
	if bad, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := bad.Position()
		return errdefs.Invalid("line %d: %w", line, err)
	}
	return errdefs.Invalid("%w", err)
}
