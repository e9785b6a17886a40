package pod

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/berth-runtime/berth/cri-server/events"
	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/cri-server/stats"
)

// Manager owns all pods and containers. Its methods may be used at the same time. IDs may be given as unique prefixes.
type Manager struct {
	cfg    Config
	log    *slog.Logger
	host   spec.Host
	groups cgroupNames
	store  store
	bus    *events.Bus[Event]
	rates  *stats.Rates
	layers *stats.Layers

	userNamespaces func() error // probeUsers, once

	background sync.WaitGroup // operations and event handling; see goLocked
	closing    chan struct{}  // closed when Close begins

	mu         sync.Mutex
	closed     bool
	pods       map[string]*podEntry       // by ID
	containers map[string]*containerEntry // by ID
	names      map[string]string          // reserved name → ID of the pod or container that has it
	stray      map[string]string          // during Recover: ID of a container without a pod → its cgroup
}

// maxBehind is how many events a subscriber may be behind: enough for a node full of pods to stop at once.
const maxBehind = 4096

// New opens the folders. Nothing of a former run is known before [Manager.Recover].
func New(ctx context.Context, cfg Config) (*Manager, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	host, err := cfg.Machine.Host(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask what this host offers: %w", err)
	}
	host.Profiles = spec.NewProfiles()
	groups, err := newCgroupNames(cfg.CgroupRoot, cfg.Systemd)
	if err != nil {
		return nil, fmt.Errorf("open pods: %w", err)
	}
	m := &Manager{
		cfg: cfg, log: cfg.Logger, host: host, groups: groups,
		store:      store{dir: cfg.State},
		bus:        events.New[Event](maxBehind),
		rates:      stats.NewRates(),
		layers:     stats.NewLayers(cfg.LayerAge),
		closing:    make(chan struct{}),
		pods:       map[string]*podEntry{},
		containers: map[string]*containerEntry{},
		names:      map[string]string{},
		stray:      map[string]string{},
	}
	m.userNamespaces = sync.OnceValue(m.probeUsers)
	for _, dir := range []string{m.podsDir(), m.containersDir(), cfg.Volumes} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("open pods: %w", err)
		}
		// Nobody else may come near what is below, such as a pod's shared memory, which everybody may write to inside
		// (CVE-2024-25621). A folder of an earlier version is closed as well.
		if err := os.Chmod(dir, 0o700); err != nil {
			return nil, fmt.Errorf("close %s to others: %w", dir, err)
		}
	}
	return m, nil
}

// Close ends operations under way and waits until they have. What they left half done is on record, and taken down by the
// next Recover. Pods and containers go on.
func (m *Manager) Close() error {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		close(m.closing)
	}
	for _, p := range m.pods {
		p.stop.cancel()
		p.remove.cancel()
	}
	var reserved []*reservation
	for _, c := range m.containers {
		c.remove.cancel()
		reserved = append(reserved, c.reserved)
		c.reserved = nil
	}
	m.mu.Unlock()
	m.bus.Close()
	m.background.Wait()
	var errs []error
	for _, r := range reserved {
		errs = append(errs, r.close())
	}
	return errors.Join(errs...)
}

// Subscribe returns a subscription to what happens to pods and containers from now on. Its owner must Close it.
func (m *Manager) Subscribe() *events.Subscription[Event] { return m.bus.Subscribe() }

func (m *Manager) podsDir() string               { return filepath.Join(m.cfg.State, "pods") }
func (m *Manager) podDir(id string) string       { return filepath.Join(m.podsDir(), id) }
func (m *Manager) pinsDir(id string) string      { return filepath.Join(m.podDir(id), "ns") }
func (m *Manager) shmPath(id string) string      { return filepath.Join(m.podDir(id), "shm") }
func (m *Manager) containersDir() string         { return filepath.Join(m.cfg.State, "containers") }
func (m *Manager) containerDir(id string) string { return filepath.Join(m.containersDir(), id) }

// volumesOf is the folder of a container's anonymous volumes, or of a pod's files.
func (m *Manager) volumesOf(id string) string { return filepath.Join(m.cfg.Volumes, id) }

// podFile is a file that a pod's containers share. Containers write to it, so it is on the disk with their other files: the
// state folder is memory, which they must not be able to fill.
func (m *Manager) podFile(id, name string) string { return filepath.Join(m.volumesOf(id), name) }
