package plugin

import (
	"fmt"
	"io"
	"strings"

	"github.com/containernetworking/cni/pkg/version"

	internalversion "github.com/berth-runtime/berth/internal/version"
)

// usage answers a person at a terminal; runtimes give no arguments. It returns the exit status.
func usage(c Commands, arg string, stdout, stderr io.Writer) int {
	switch arg {
	case "--version", "-version", "version":
		fmt.Fprintf(stdout, "berth's CNI plugin %s, version %s, CNI %s\n", c.Name, internalversion.String(), strings.Join(version.All.SupportedVersions(), " "))
	case "--help", "-help", "-h", "help":
		fmt.Fprintf(stdout, "%s: %s\n\n%s\n", c.Name, c.About, howToRun)
		if len(c.Keys) > 0 {
			where := ""
			if c.Section != "" {
				where = " in section " + c.Section
			}
			fmt.Fprintf(stdout, "\nConfiguration keys%s beside those of the specification:\n  %s\n", where, strings.Join(c.Keys, "\n  "))
		}
	default:
		fmt.Fprintf(stderr, "%s takes no arguments but --help and --version\n\n%s\n", c.Name, howToRun)
		return 2
	}
	return 0
}

const howToRun = `This program is a CNI plugin: a container runtime, or cnitool, runs it with the variables CNI_COMMAND, CNI_CONTAINERID,
CNI_NETNS, CNI_IFNAME and CNI_PATH, and with a network configuration on stdin. cni-plugins/README.md of berth's source says more.`
