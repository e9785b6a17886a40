package plugin

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// specKeys are the top-level keys that the CNI specification and libcni give a meaning, whatever the plugin.
func specKeys() []string {
	return []string{
		"cniVersion", "cniVersions", "name", "type", "args", "ipam", "ipMasq", "dns", "capabilities", "runtimeConfig", "prevResult",
		"cni.dev/valid-attachments", "cni.dev/attachments", "disableCheck", "disableGC", "loadOnlyInlinedPlugins",
	}
}

// Keys lists the JSON keys of a struct, which a plugin decodes its configuration into: those of its fields, and those of the fields
// of runtimeConfig as "runtimeConfig.KEY".
func Keys(conf any) []string { return keysOf(reflect.TypeOf(conf), "") }

func keysOf(t reflect.Type, prefix string) []string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var keys []string
	for f := range t.Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && key == "":
			keys = append(keys, keysOf(f.Type, prefix)...)
		case key == "runtimeConfig" && f.Type.Kind() == reflect.Struct:
			keys = append(append(keys, key), keysOf(f.Type, key+".")...)
		case key != "" && key != "-":
			keys = append(keys, prefix+key)
		}
	}
	return keys
}

// UnknownKeys lists, sorted, the keys of a configuration that are neither known nor of the specification. A plugin for addresses knows
// those of its section, "ipam"; for others section is "", and what the section holds is not theirs to judge. It is pure; what can't be
// decoded has no keys. As in encoding/json, upper and lower case are the same.
func UnknownKeys(data []byte, section string, known []string) []string {
	object := decodeObject(data)
	if section != "" {
		object, known = decodeObject(object[section]), append([]string{"type"}, known...)
	} else {
		for key, value := range decodeObject(object["runtimeConfig"]) {
			object["runtimeConfig."+key] = value
		}
		known = append(specKeys(), known...)
	}
	var unknown []string
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, key) }) {
			unknown = append(unknown, key)
		}
	}
	return unknown
}

func decodeObject(data []byte) map[string]json.RawMessage {
	object := map[string]json.RawMessage{}
	if json.Unmarshal(data, &object) != nil || object == nil {
		return map[string]json.RawMessage{}
	}
	return object
}

// keysShown bounds a warning.
const keysShown = 20

// WarnUnknown names the keys that the plugin does not know, on stderr, once for each ADD: they change nothing, which a typing error would
// not tell.
func (c Commands) WarnUnknown(r *Request) {
	if c.Keys == nil {
		return
	}
	unknown := UnknownKeys(r.Config.Raw, c.Section, c.Keys)
	if len(unknown) == 0 {
		return
	}
	where := ""
	if c.Section != "" {
		where = " in section " + c.Section
	}
	r.Warn("network %s: keys that this plugin does not know, and ignores%s: %.80q", r.Config.Name, where, unknown[:min(len(unknown), keysShown)])
}

// KnownBackend accepts the ways by which the reference plugins write firewall rules. Here it is nftables whatever is asked for:
// the choice was never about what the rules do.
func KnownBackend(name string) bool {
	return name == "" || name == "nftables" || name == "iptables"
}
