package images

import (
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Names of images that tests use directly, as a registry of the catalog serves them.
const (
	Busybox = "e2e-test-images/busybox:1.29-2"
	Nginx   = "e2e-test-images/nginx:1.14-2"
	Pause   = "pause:3.9"
	Web     = "berth/web:1"
	Hello   = "berth/hello:1" // a web server and nothing else
	Layers  = "berth/layers:1"
)

// entry is one image: what lies on top of what, and how it starts.
type entry struct {
	refs   []string // repository:tag
	base   string   // name of another image's files: "busybox" or "" for none
	layers [][]file
	config v1.Config
}

// cri is the repository folder of the conformance suite's own images.
const cri = "k8s-staging-cri-tools/"

// catalog lists every image. It is pure: g tells where the guest program lies.
func catalog(g guest) []entry {
	entries := []entry{
		busybox([]string{Busybox, "library/busybox:latest"}, v1.Config{Cmd: []string{"sh"}}),
		server(g, []string{Nginx, "library/nginx:latest"}, "nginx", "80"),
		server(g, []string{cri + "hostnet-nginx-" + runtime.GOARCH + ":latest"}, "nginx", "12003"),
		server(g, []string{"e2e-test-images/httpd:2.4.39-4"}, "httpd", "80"),
		server(g, []string{Web}, "web", "80"),
		{
			refs: []string{"e2e-test-images/nonewprivs:1.3"}, base: "busybox",
			layers: [][]file{{{path: "nnp", mode: 0o4755, from: g.path}}},
			config: v1.Config{Cmd: []string{"/nnp"}},
		},
		{
			refs:   []string{Pause},
			layers: [][]file{{{path: "pause", mode: 0o755, from: g.path}}},
			config: v1.Config{Entrypoint: []string{"/pause"}, User: "65535:65535"},
		},
		{
			refs:   []string{Hello},
			layers: [][]file{{{path: "web", mode: 0o755, from: g.path}}},
			config: v1.Config{Entrypoint: []string{"/web"}, Env: []string{"GREETING=a pod of berth"}, ExposedPorts: map[string]struct{}{"80/tcp": {}}},
		},
		predefinedGroup(),
		whiteouts(),
	}
	for name, user := range map[string]string{
		"uid": "1002", "username": "www-data", "uid-group": "1003:1004", "username-group": "www-data:1004",
	} {
		entries = append(entries, busybox([]string{cri + "test-image-user-" + name + ":latest"}, v1.Config{User: user, Cmd: []string{"sh"}}))
	}
	for _, refs := range [][]string{
		{"test-image-1:latest"},
		{"test-image-2:latest"},
		{"test-image-3:latest"},
		{"test-image-latest:latest"},
		{"test-image-digest:latest"},
		{"test-image-tag:test"},
		{"test-image-tag:all"},
		{"test-image-tags:1", "test-image-tags:2", "test-image-tags:3"},
	} {
		entries = append(entries, marked(refs))
	}
	return entries
}

// busybox is an image of nothing but busybox.
func busybox(refs []string, config v1.Config) entry {
	return entry{refs: refs, base: "busybox", config: config}
}

// server is busybox with the guest program as a web server of the given name and port.
func server(g guest, refs []string, name, port string) entry {
	return entry{
		refs: refs, base: "busybox",
		layers: [][]file{{
			{path: "usr/sbin", mode: dir | 0o755},
			{path: "usr/sbin/" + name, mode: 0o755, from: g.path},
			{path: "var/run", mode: dir | 0o755},
		}},
		config: v1.Config{
			Entrypoint:   []string{"/usr/sbin/" + name},
			Env:          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PORT=" + port},
			ExposedPorts: map[string]struct{}{port + "/tcp": {}},
			StopSignal:   "SIGQUIT",
		},
	}
}

// marked is busybox with an empty file named like the image, so that every such image is another.
func marked(refs []string) entry {
	e := busybox(nil, v1.Config{Cmd: []string{"sh"}})
	for _, ref := range refs {
		e.refs = append(e.refs, cri+ref)
	}
	e.layers = [][]file{{{path: "marker-" + sanitize(refs[0]), mode: 0o644}}}
	return e
}

// predefinedGroup is an image whose user belongs to a group that only the image's /etc/group knows.
func predefinedGroup() entry {
	e := busybox([]string{cri + "test-image-predefined-group:latest"}, v1.Config{User: "1000", Cmd: []string{"sh"}})
	e.layers = [][]file{{
		{path: "etc/passwd", mode: 0o644, content: passwd + "default-user:x:1000:1000::/home/default-user:/bin/sh\n"},
		{path: "etc/group", mode: 0o644, content: group + "default-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n"},
		{path: "home/default-user", mode: dir | 0o755, uid: 1000},
	}}
	return e
}

// whiteouts is an image whose upper layers delete a file, hide a folder's content and replace a folder by a file.
func whiteouts() entry {
	e := busybox([]string{Layers}, v1.Config{Cmd: []string{"sh"}, Volumes: map[string]struct{}{"/data": {}}})
	e.layers = [][]file{
		{
			{path: "data", mode: dir | 0o750, uid: 33},
			{path: "data/kept", mode: 0o640, content: "kept\n", uid: 33},
			{path: "gone", mode: 0o644, content: "gone\n"},
			{path: "opaque", mode: dir | 0o755},
			{path: "opaque/hidden", mode: 0o644, content: "hidden\n"},
			{path: "was-folder", mode: dir | 0o755},
			{path: "was-folder/in", mode: 0o644, content: "in\n"},
			{path: "hard/a", mode: 0o644, content: "linked\n"},
			{path: "hard/b", mode: 0o644, link: "hard/a"},
			{path: "soft", symlink: "/hard/a"},
		},
		{
			{path: ".wh.gone", mode: 0o644},
			{path: "opaque/.wh..wh..opq", mode: 0o644},
			{path: "opaque/shown", mode: 0o644, content: "shown\n"},
			{path: ".wh.was-folder", mode: 0o644},
			{path: "was-folder", mode: 0o600, content: "a file now\n"},
		},
	}
	return e
}
