package images

import "path"

const (
	passwd = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
`
	group = `root:x:0:
daemon:x:1:
bin:x:2:
tty:x:5:
mail:x:8:
www-data:x:33:
users:x:100:
nobody:x:65534:
`
)

// busyboxFiles is the root of a small system: busybox with a hard link per applet, so that every applet is a file of its own
// name (a masked /bin/ls must be masked), and the accounts that tests ask for.
func busyboxFiles(b builtBusybox) []file {
	files := []file{
		{path: "bin", mode: dir | 0o755},
		{path: "bin/busybox", mode: 0o755, from: b.path},
		{path: "dev", mode: dir | 0o755},
		{path: "etc", mode: dir | 0o755},
		{path: "etc/passwd", mode: 0o644, content: passwd},
		{path: "etc/group", mode: 0o644, content: group},
		{path: "etc/nsswitch.conf", mode: 0o644, content: "passwd: files\ngroup: files\nhosts: files dns\n"},
		{path: "home", mode: dir | 0o755, uid: 65534},
		{path: "proc", mode: dir | 0o755},
		{path: "root", mode: dir | 0o700},
		{path: "sys", mode: dir | 0o755},
		{path: "tmp", mode: dir | 0o1777},
		{path: "usr/sbin", mode: dir | 0o755},
		{path: "usr/bin", mode: dir | 0o755},
		{path: "sbin", mode: dir | 0o755},
		{path: "var/spool/mail", mode: dir | 0o755, uid: 8},
		{path: "var/www", mode: dir | 0o755, uid: 33},
	}
	for _, applet := range b.applets {
		if name := path.Base(applet); name != "busybox" {
			files = append(files, file{path: "bin/" + name, mode: 0o755, link: "bin/busybox"})
		}
	}
	return files
}
