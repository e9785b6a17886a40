package registry

import (
	"fmt"
	"os"
	"path/filepath"
)

// WriteHosts writes a hosts.toml per upstream registry below dir that sends its pulls to this server and nowhere else.
func (s *Server) WriteHosts(dir string, upstreams ...string) error {
	for _, upstream := range upstreams {
		folder := filepath.Join(dir, upstream)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		text := fmt.Sprintf("server = %q\n\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", s.URL(), s.URL())
		if err := os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Upstreams are the registries that the conformance suite's images come from, and the one that short names mean.
func Upstreams() []string { return []string{"registry.k8s.io", "k8s.gcr.io", "gcr.io", "docker.io"} }
