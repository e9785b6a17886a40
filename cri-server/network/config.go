package network

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/containernetworking/cni/libcni"
	"golang.org/x/sync/semaphore"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Config of a Network. Zero values of the optional fields mean their defaults.
type Config struct {
	ConfDir  string   // folder of .conflist, .conf and .json files; may be missing
	BinDirs  []string // folders of plugins, in order of preference
	CacheDir string   // belongs to the Network; should not outlive a reboot

	DefaultName    string        // of the built-in network and, with a 0 appended, its bridge: "berth". Daemons that share a host need different ones; cri-server/config has checked it
	DefaultSubnets []string      // candidates for the built-in network, in CIDR form: 10.77.0.0/16 to 10.127.0.0/16
	AgentFiles     []string      // files whose presence says that a Kubernetes agent configures the network: those of kubelet and k3s
	PluginTimeout  time.Duration // after which a plugin is killed with its process group: 60 s

	Logger *slog.Logger
}

// Network connects pods. Its methods may be called from several goroutines, but for one pod one after another.
type Network struct {
	conf    Config
	cni     *libcni.CNIConfig
	repairs *libcni.CNIConfig // cni, whose CHECK repairs
	runner  *runner
	gate    *semaphore.Weighted // GC takes all of it, Setup and Teardown one

	mu     sync.Mutex
	spoken map[string]spoken // by path of a plugin

	live map[string]bool // pods attached by this process and not torn down: GC keeps them, whatever the caller's list says
}

// gateSize is more than there will be Setups at a time.
const gateSize = 1 << 20

// New checks the configuration and makes the cache folder. It does not need a network to exist.
func New(c Config) (*Network, error) {
	if !filepath.IsAbs(c.CacheDir) {
		return nil, errdefs.Invalid("open network: cache folder %q is not an absolute path", c.CacheDir)
	}
	if len(c.BinDirs) == 0 {
		return nil, errdefs.Invalid("open network: no folder of CNI plugins is configured")
	}
	c.setDefaults()
	if err := c.checkDefaultNetwork(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(recordDir(c.CacheDir), 0o700); err != nil {
		return nil, errdefs.New(errdefs.ErrUnavailable, "open network: %w", err)
	}
	runner := &runner{timeout: c.PluginTimeout, log: c.Logger, servers: newServers()}
	return &Network{
		conf:    c,
		runner:  runner,
		cni:     libcni.NewCNIConfigWithCacheDir(c.BinDirs, c.CacheDir, runner),
		repairs: libcni.NewCNIConfigWithCacheDir(c.BinDirs, c.CacheDir, &repairer{runner}),
		gate:    semaphore.NewWeighted(gateSize),
		spoken:  map[string]spoken{},
		live:    map[string]bool{},
	}, nil
}

// Close ends the plugins' processes that wait for calls. Nothing else may be called any more.
func (n *Network) Close() error {
	n.runner.servers.close()
	return nil
}

func (c *Config) setDefaults() {
	if c.DefaultName == "" {
		c.DefaultName = "berth"
	}
	if len(c.DefaultSubnets) == 0 {
		c.DefaultSubnets = builtinSubnets()
	}
	if c.AgentFiles == nil {
		c.AgentFiles = []string{"/var/lib/kubelet/config.yaml", "/var/lib/rancher/k3s/agent"}
	}
	if c.PluginTimeout == 0 {
		c.PluginTimeout = time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// enter waits until no GC runs; leave undoes it.
func (n *Network) enter(ctx context.Context) error { return n.gate.Acquire(ctx, 1) }
func (n *Network) leave()                          { n.gate.Release(1) }

func (n *Network) setLive(podID string, live bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if live {
		n.live[podID] = true
	} else {
		delete(n.live, podID)
	}
}

func (n *Network) livePods() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	pods := make([]string, 0, len(n.live))
	for id := range n.live {
		pods = append(pods, id)
	}
	return pods
}
