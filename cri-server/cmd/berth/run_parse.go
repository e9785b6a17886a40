package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// parsePort reads -p: [IP:]HOST:CONTAINER[/PROTOCOL]. An IPv6 address stands in brackets.
func parsePort(text string) (*cri.PortMapping, error) {
	bad := func(why string) (*cri.PortMapping, error) {
		return nil, errdefs.Invalid("-p %s: %s; give [IP:]HOST:CONTAINER[/tcp|/udp], such as 127.0.0.1:8080:80", text, why)
	}
	rest, protocol, _ := strings.Cut(text, "/")
	m := &cri.PortMapping{}
	switch protocol {
	case "", "tcp":
	case "udp":
		m.Protocol = cri.Protocol_UDP
	case "sctp":
		m.Protocol = cri.Protocol_SCTP
	default:
		return bad("the protocol is unknown")
	}
	left, inside, ok := cutLast(rest, ":")
	if !ok {
		return bad("the port of the node is missing, and CRI cannot choose one")
	}
	host := left
	if ip, port, ok := cutLast(left, ":"); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(ip, "["), "]"))
		if err != nil {
			return bad("the address is none")
		}
		m.HostIp, host = addr.String(), port
	}
	var err error
	if m.ContainerPort, err = portNumber(inside); err != nil {
		return bad("the container's port is no number from 1 to 65535")
	}
	if m.HostPort, err = portNumber(host); err != nil {
		return bad("the node's port is no number from 1 to 65535")
	}
	return m, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func portNumber(text string) (int32, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, errdefs.Invalid("%q is no port", text)
	}
	return int32(n), nil
}

// portText is a mapping as ps shows it.
func portText(m *cri.PortMapping) string {
	host := strconv.Itoa(int(m.GetHostPort()))
	if ip := m.GetHostIp(); strings.Contains(ip, ":") {
		host = "[" + ip + "]:" + host
	} else if ip != "" {
		host = ip + ":" + host
	}
	return host + "->" + strconv.Itoa(int(m.GetContainerPort())) + "/" + strings.ToLower(m.GetProtocol().String())
}

// parseVolume reads -v: SOURCE:TARGET[:OPTION[,OPTION]]. A source that is not absolute is below the present folder, if
// it says so by a dot; a mere word would be the name of a volume, which CRI does not know.
func parseVolume(text string) (*cri.Mount, error) {
	bad := func(why string) (*cri.Mount, error) {
		return nil, errdefs.Invalid("-v %s: %s; give SOURCE:TARGET[:ro], such as /srv/www:/usr/share/nginx/html:ro", text, why)
	}
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return bad("it has not two or three parts")
	}
	m := &cri.Mount{HostPath: parts[0], ContainerPath: parts[1]}
	switch {
	case m.GetHostPath() == "":
		return bad("the source is empty")
	case strings.HasPrefix(m.GetHostPath(), "."):
		abs, err := filepath.Abs(m.GetHostPath())
		if err != nil {
			return bad(err.Error())
		}
		m.HostPath = abs
	case !filepath.IsAbs(m.GetHostPath()):
		return bad("named volumes are not there; write ./" + m.GetHostPath() + " for a folder here")
	}
	if !filepath.IsAbs(m.GetContainerPath()) {
		return bad("the target is not an absolute path")
	}
	if len(parts) == 2 {
		return m, nil
	}
	for option := range strings.SplitSeq(parts[2], ",") {
		switch option {
		case "ro":
			m.Readonly = true
		case "rw":
		case "rro":
			m.Readonly, m.RecursiveReadOnly = true, true
		case "rshared", "shared":
			m.Propagation = cri.MountPropagation_PROPAGATION_BIDIRECTIONAL
		case "rslave", "slave":
			m.Propagation = cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
		case "rprivate", "private":
		default:
			return bad("the option " + strconv.Quote(option) + " is unknown")
		}
	}
	return m, nil
}

// parseEnv reads -e. A name alone passes on the variable of this process, and is left out if there is none.
func parseEnv(list []string) ([]*cri.KeyValue, error) {
	var env []*cri.KeyValue
	for _, text := range list {
		name, value, assigned := strings.Cut(text, "=")
		if name == "" {
			return nil, errdefs.Invalid("-e %s: the name is missing", text)
		}
		if !assigned {
			var set bool
			if value, set = os.LookupEnv(name); !set {
				continue
			}
		}
		env = append(env, &cri.KeyValue{Key: name, Value: []byte(value)})
	}
	return env, nil
}

func parseLabels(list []string) (map[string]string, error) {
	labels := map[string]string{}
	for _, text := range list {
		key, value, _ := strings.Cut(text, "=")
		if key == "" {
			return nil, errdefs.Invalid("-l %s: the key is missing", text)
		}
		labels[key] = value
	}
	return labels, nil
}
