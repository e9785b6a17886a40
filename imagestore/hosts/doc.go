// Package hosts decides where a registry's requests go: its own host, or mirrors set up by the operator in
// HOST/hosts.toml or _default/hosts.toml, the format that containerd documents.
//
// It owns reading and checking these files, anew at each call so that changes need no restart. It opens no connection
// and knows no credentials; it only says whether a host may be given those meant for the registry.
package hosts
