// Command test-registry serves OCI layouts as a registry on loopback until it is told to end.
//
//	test-registry --listen 127.0.0.1:5000 build/images
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/berth-runtime/berth/test/registry"
)

func main() {
	var cfg registry.Config
	var scheme, hosts string
	flag.StringVar(&cfg.Listen, "listen", "127.0.0.1:5000", "address to serve on")
	flag.StringVar(&scheme, "auth", "", "authentication: basic, bearer or none")
	flag.StringVar(&cfg.Auth.User, "user", "", "user who may pull")
	flag.StringVar(&cfg.Auth.Password, "password", "", "the user's password")
	flag.StringVar(&hosts, "write-hosts", "", "write hosts.toml files for the usual registries below this folder")
	flag.Parse()
	cfg.Layouts, cfg.Auth.Scheme = flag.Args(), registry.Scheme(scheme)
	if err := run(cfg, hosts); err != nil {
		fmt.Fprintln(os.Stderr, "test-registry:", err)
		os.Exit(1)
	}
}

func run(cfg registry.Config, hosts string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	s, err := registry.Start(cfg)
	if err != nil {
		return err
	}
	if hosts != "" {
		if err := s.WriteHosts(hosts, registry.Upstreams()...); err != nil {
			return err
		}
	}
	fmt.Println(s.URL())
	<-ctx.Done()
	return s.Close()
}
