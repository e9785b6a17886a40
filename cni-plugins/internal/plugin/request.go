package plugin

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/utils"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/netns"
)

const (
	stdinMax = 8 << 20 // bytes of a configuration; a GC names every pod of the node
	argsMax  = 64 << 10
)

// Request is one call of a plugin. NS is open for ADD and CHECK, and for DEL if the namespace still exists.
type Request struct {
	Command     string
	ContainerID string
	Netns       string
	NS          *netns.Handle
	IfName      string
	Args        map[string]string // CNI_ARGS
	Path        []string          // CNI_PATH
	Environ     []string          // all of the call's variables, "NAME=value"
	Config      Config
	Stderr      io.Writer
	Repair      bool // CHECK puts the firewall back first
}

// RepairVariable in the environment, set to 1, has CHECK put back what of an attachment's firewall is gone, before it looks:
// others flush the rules of the whole host now and then. CNI has no command for that; plugins that don't know the variable
// check and say what is missing.
const RepairVariable = "BERTH_CNI_REPAIR"

// Warn writes one line for people.
func (r *Request) Warn(format string, args ...any) {
	fmt.Fprintf(r.Stderr, "%s: %s\n", r.Config.Type, fmt.Sprintf(format, args...))
}

// PrevAddrs are the addresses of the container's interface in prevResult, which must be there. Results of old versions don't name interfaces.
func (r *Request) PrevAddrs() []netip.Addr {
	var addrs []netip.Addr
	for _, ip := range r.Config.Prev.IPs {
		if i := ip.Interface; i != nil {
			if l := r.Config.Prev.Interfaces[*i]; l.Name != r.IfName || l.Sandbox == "" {
				continue
			}
		}
		if a, ok := netip.AddrFromSlice(ip.Address.IP); ok {
			addrs = append(addrs, a.Unmap())
		}
	}
	return addrs
}

// readRequest checks the environment, reads the configuration and checks that the namespace is not the host's own.
func readRequest(getenv func(string) string, stdin io.Reader) (*Request, error) {
	r, err := readEnvironment(getenv)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(stdin, stdinMax+1))
	if err != nil {
		return nil, WithCode(types.ErrIOFailure, fmt.Errorf("read the configuration from stdin: %w", err))
	}
	if len(data) > stdinMax {
		return nil, WithCode(types.ErrDecodingFailure, errdefs.Invalid("the configuration on stdin is larger than %d bytes", stdinMax))
	}
	if r.Config, err = ParseConfig(r.Command, data); err != nil {
		return nil, err
	}
	return r, openNetns(r)
}

// variable is one CNI_ variable with the commands that can't do without it and its check.
type variable struct {
	name   string
	value  *string
	needed string
	check  func(string) *types.Error
}

func readEnvironment(getenv func(string) string) (*Request, error) {
	r := &Request{Command: getenv("CNI_COMMAND"), Repair: getenv(RepairVariable) == "1"}
	switch r.Command {
	case "ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION":
	case "":
		return nil, envError("CNI_COMMAND is not set; this program is a CNI plugin, which a container runtime runs")
	default:
		return nil, envError("CNI_COMMAND=%q is not a command of CNI", r.Command)
	}
	free := func(string) *types.Error { return nil }
	var path, args string
	for _, v := range []variable{
		{"CNI_CONTAINERID", &r.ContainerID, "ADD DEL CHECK", utils.ValidateContainerID},
		{"CNI_IFNAME", &r.IfName, "ADD DEL CHECK", utils.ValidateInterfaceName},
		{"CNI_NETNS", &r.Netns, "ADD CHECK", free},
		{"CNI_PATH", &path, "ADD DEL CHECK GC STATUS", free},
		{"CNI_ARGS", &args, "", free},
	} {
		*v.value = getenv(v.name)
		needed := strings.Contains(v.needed, r.Command)
		if *v.value == "" && needed {
			return nil, envError("%s is not set; %s needs it", v.name, r.Command)
		}
		if err := v.check(*v.value); err != nil && needed {
			return nil, envError("%s=%q: %s", v.name, *v.value, err.Msg)
		}
	}
	r.Path = filepath.SplitList(path)
	var err error
	r.Args, err = ParseArgs(args)
	return r, err
}

// ParseArgs splits CNI_ARGS, "KEY=value;KEY=value".
func ParseArgs(text string) (map[string]string, error) {
	if len(text) > argsMax {
		return nil, envError("CNI_ARGS has %d bytes, at most %d are taken", len(text), argsMax)
	}
	args := map[string]string{}
	for pair := range strings.SplitSeq(text, ";") {
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, envError("CNI_ARGS: %.100q is not KEY=value", pair)
		}
		args[key] = value
	}
	return args, nil
}

func envError(format string, args ...any) error {
	return WithCode(types.ErrInvalidEnvironmentVariables, errdefs.Invalid(format, args...))
}

// openNetns opens the container's namespace. It refuses the host's own for ADD and CHECK; for DEL a namespace that is gone, or was
// never one, leaves r.NS nil.
func openNetns(r *Request) error {
	if r.Netns == "" || r.Command != "ADD" && r.Command != "CHECK" && r.Command != "DEL" {
		return nil
	}
	ns, err := netns.Open(r.Netns)
	gone, wrong := errors.Is(err, errdefs.ErrNotFound), errors.Is(err, errdefs.ErrInvalid) // wrong: a pin without its mount is an empty file
	switch {
	case r.Command == "DEL" && (gone || wrong):
		return nil
	case gone:
		return WithCode(types.ErrUnknownContainer, err)
	case wrong:
		return WithCode(types.ErrInvalidNetNS, err)
	case err != nil:
		return err
	}
	own, err := ns.IsOwn()
	if err == nil && !own {
		r.NS = ns
		return nil
	}
	if err == nil && r.Command != "DEL" {
		err = WithCode(types.ErrInvalidNetNS, errdefs.Invalid("CNI_NETNS=%s is the network namespace of the host itself", r.Netns))
	}
	return errors.Join(err, ns.Close()) // DEL of the host's: nothing was ever attached to it
}

func (r *Request) close() error {
	if r == nil || r.NS == nil {
		return nil
	}
	return r.NS.Close()
}
