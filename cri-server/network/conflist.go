package network

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/utils"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/sys"
)

const (
	confFileMax  = 1 << 20 // bytes of one configuration file
	confFilesMax = 128     // files in the configuration folder
	pluginsMax   = 64      // plugins in one list
)

// file is one file of the configuration folder: a network, or the reason why it is none.
type file struct {
	path string
	list *libcni.NetworkConfigList
	err  error
}

// loadFiles reads the configuration folder, in the order of the names. A missing folder holds no files.
func loadFiles(dir string) ([]file, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, errdefs.New(errdefs.ErrUnavailable, "read folder of CNI configurations: %w", err)
	}
	var files []file
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".conflist", ".conf", ".json":
		default:
			continue
		}
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") { // dot files are those that an editor is about to rename
			continue
		}
		if len(files) == confFilesMax {
			return nil, errdefs.Invalid("read folder of CNI configurations %s: it holds more than %d", dir, confFilesMax)
		}
		files = append(files, loadFile(filepath.Join(dir, e.Name())))
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(a.path, b.path) })
	return files, nil
}

func loadFile(path string) file {
	data, err := sys.ReadRegular(path, confFileMax)
	if err != nil {
		return file{path: path, err: errdefs.New(errdefs.ErrInvalid, "read CNI configuration: %w", err)}
	}
	list, err := parseList(data, strings.HasSuffix(path, ".conflist"))
	if err == nil && !list.LoadOnlyInlinedPlugins && strings.HasSuffix(path, ".conflist") {
		err = addPluginFiles(list, filepath.Join(filepath.Dir(path), list.Name))
	}
	if err == nil {
		err = checkList(list)
	}
	if err != nil {
		return file{path: path, err: errdefs.New(errdefs.ErrInvalid, "read CNI configuration %s: %w", path, err)}
	}
	return file{path: path, list: list}
}

// parseList decodes a list of plugins, or a single plugin which becomes a list of one.
func parseList(data []byte, isList bool) (*libcni.NetworkConfigList, error) {
	var probe struct {
		Plugins json.RawMessage `json:"plugins"`
	}
	if err := json.Unmarshal(data, &probe); err != nil {
		return nil, fmt.Errorf("parse JSON: %w", err)
	}
	if isList || probe.Plugins != nil {
		list, err := libcni.NetworkConfFromBytes(data)
		if err != nil {
			return nil, err
		}
		return list, nil
	}
	single, err := libcni.NetworkPluginConfFromBytes(data)
	if err != nil {
		return nil, err
	}
	//lint:ignore SA1019 single configurations are still in use on nodes, and this is how they are read
	return libcni.ConfListFromConf(single)
}

// addPluginFiles appends the plugins of a folder named like the network (CNI 1.1, section "Plugin configuration objects").
func addPluginFiles(list *libcni.NetworkConfigList, dir string) error {
	if utils.ValidateNetworkName(list.Name) != nil {
		//lint:ignore nilerr checkList reports the name
		return nil // checkList says so; the name must not become part of a path
	}
	names, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*.conf"))
	if err != nil {
		return err
	}
	if len(names) > pluginsMax {
		return fmt.Errorf("folder %s holds %d plugins, at most %d are taken", dir, len(names), pluginsMax)
	}
	for _, name := range names {
		data, err := sys.ReadRegular(name, confFileMax)
		if err != nil {
			return err
		}
		plugin, err := libcni.NetworkPluginConfFromBytes(data)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		list.Plugins = append(list.Plugins, plugin)
	}
	return nil
}

func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// checkList refuses now what would otherwise fail at the first pod.
func checkList(list *libcni.NetworkConfigList) error {
	if err := utils.ValidateNetworkName(list.Name); err != nil {
		return fmt.Errorf("name %q: %s", list.Name, err.Msg)
	}
	if _, _, _, err := version.ParseVersion(list.CNIVersion); err != nil {
		return fmt.Errorf("cniVersion %q: %w", list.CNIVersion, err)
	}
	if newer, err := version.GreaterThan(list.CNIVersion, version.Current()); err != nil || newer {
		return fmt.Errorf("cniVersion %s is newer than %s, the newest known here", list.CNIVersion, version.Current())
	}
	switch n := len(list.Plugins); {
	case n == 0:
		return errors.New("it names no plugins")
	case n > pluginsMax:
		return fmt.Errorf("it names %d plugins, at most %d are taken", n, pluginsMax)
	}
	for i, p := range list.Plugins {
		if t := p.Network.Type; t == "" || t == "." || t == ".." || strings.ContainsAny(t, "/\x00") {
			return fmt.Errorf("plugin %d: type %q is not a file name", i+1, t)
		}
	}
	return nil
}
