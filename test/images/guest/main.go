// Command guest is the one program inside the test images; the name that it is started by says what it plays. It is static,
// so that an image needs nothing else, and holds no test logic.
//
//	nginx   a web server whose first process calls itself "master process" and writes /var/run/nginx.pid
//	httpd   a web server that says "httpd" in its log
//	web     a web server that answers with its host name, its address and the request; UDP too
//	nnp     prints the effective user id; installed setuid root
//	pause   waits until told to end
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	name, _, _ := strings.Cut(os.Args[0], ":") // "nginx: master process …"
	if err := play(filepath.Base(name)); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
}

func play(name string) error {
	switch name {
	case "nginx":
		return nginx()
	case "httpd":
		return httpd()
	case "web":
		return web()
	case "nnp":
		_, err := fmt.Printf("Effective uid: %d\n", os.Geteuid())
		return err
	case "pause":
		return pause()
	default:
		return fmt.Errorf("no part named %q", name)
	}
}

// pause waits for a signal that ends programs, and reaps what the namespace leaves to its first process.
func pause() error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return nil
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
	return nil
}
