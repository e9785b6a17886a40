package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/utils"

	"github.com/berth-runtime/berth/internal/atomicfile"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// recordMax bounds a record file: a network's configuration and one pod's arguments.
const recordMax = 8 << 20

// record is what is needed to detach a pod: the network and the arguments that it was attached with. It is written before the
// first plugin runs and removed after the last one has cleaned up.
type record struct {
	PodID      string            `json:"pod_id"`
	Netns      string            `json:"netns"`
	Name       string            `json:"network"`
	Version    string            `json:"cni_version"`
	DisableGC  bool              `json:"disable_gc,omitempty"`
	Plugins    []json.RawMessage `json:"plugins"`
	Args       [][2]string       `json:"args"`
	Capability map[string]any    `json:"capability_args,omitempty"`
}

func recordDir(cacheDir string) string { return filepath.Join(cacheDir, "attachments") }

// recordPath refuses ids that are not plain names, so that none reaches out of the folder.
func recordPath(cacheDir, podID string) (string, error) {
	if err := utils.ValidateContainerID(podID); err != nil {
		return "", errdefs.Invalid("pod id %q: %s", podID, err.Msg)
	}
	return filepath.Join(recordDir(cacheDir), podID+".json"), nil
}

func newRecord(list *libcni.NetworkConfigList, rt *libcni.RuntimeConf) record {
	r := record{
		PodID: rt.ContainerID, Netns: rt.NetNS, Name: list.Name, Version: list.CNIVersion, DisableGC: list.DisableGC,
		Args: rt.Args, Capability: rt.CapabilityArgs,
	}
	for _, p := range list.Plugins {
		r.Plugins = append(r.Plugins, p.Bytes)
	}
	return r
}

func (n *Network) writeRecord(r record) error {
	path, err := recordPath(n.conf.CacheDir, r.PodID)
	if err != nil {
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return errdefs.Bug("encode attachment of pod %s: %w", r.PodID, err)
	}
	if err := atomicfile.Write(path, data, 0o600); err != nil {
		return fmt.Errorf("record attachment of pod %s: %w", r.PodID, err)
	}
	return nil
}

// readRecord returns a pod's record; ok is false when there is none.
func (n *Network) readRecord(podID string) (r record, ok bool, err error) {
	path, err := recordPath(n.conf.CacheDir, podID)
	if err != nil {
		return record{}, false, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, false, nil
	}
	if err != nil {
		return record{}, false, fmt.Errorf("read attachment of pod %s: %w", podID, err)
	}
	if info.Size() > recordMax {
		return record{}, false, errdefs.New(errdefs.ErrDataLoss, "read attachment of pod %s: %s has %d bytes", podID, path, info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return record{}, false, fmt.Errorf("read attachment of pod %s: %w", podID, err)
	}
	r, err = decodeRecord(data)
	if err != nil {
		return record{}, false, errdefs.New(errdefs.ErrDataLoss, "read attachment %s: %w", path, err)
	}
	if r.PodID != podID {
		return record{}, false, errdefs.New(errdefs.ErrDataLoss, "read attachment %s: it is that of pod %q", path, r.PodID)
	}
	return r, true, nil
}

func decodeRecord(data []byte) (record, error) {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, err
	}
	list, err := r.list()
	if err != nil {
		return record{}, err
	}
	return r, checkList(list)
}

// list rebuilds the network as it was when the pod was attached.
func (r record) list() (*libcni.NetworkConfigList, error) {
	list := &libcni.NetworkConfigList{Name: r.Name, CNIVersion: r.Version, DisableGC: r.DisableGC}
	for _, data := range r.Plugins {
		p, err := libcni.NetworkPluginConfFromBytes(data)
		if err != nil {
			return nil, err
		}
		list.Plugins = append(list.Plugins, p)
	}
	return list, nil
}

func (r record) runtimeConf(netns string) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: r.PodID, NetNS: netns, IfName: IfName, Args: r.Args, CapabilityArgs: r.Capability}
}

func (n *Network) removeRecord(podID string) error {
	path, err := recordPath(n.conf.CacheDir, podID)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget attachment: %w", err)
	}
	return nil
}

// removeDrafts removes what a process left that was killed while it wrote a record. Nobody may write meanwhile.
func (n *Network) removeDrafts() error {
	dir := recordDir(n.conf.CacheDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list attachments: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") { // as atomicfile names them; ids begin with a letter or digit
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// recorded lists the pods that have a record.
func (n *Network) recorded() ([]string, error) {
	entries, err := os.ReadDir(recordDir(n.conf.CacheDir))
	if err != nil {
		return nil, fmt.Errorf("list attachments: %w", err)
	}
	var pods []string
	for _, e := range entries {
		if id, ok := cutSuffix(e.Name()); ok {
			pods = append(pods, id)
		}
	}
	return pods, nil
}

func cutSuffix(name string) (id string, ok bool) {
	id, ok = name[:max(0, len(name)-len(".json"))], filepath.Ext(name) == ".json"
	return id, ok && utils.ValidateContainerID(id) == nil
}
