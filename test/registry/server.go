package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Config says what a server serves and how.
type Config struct {
	Layouts []string         // OCI layouts, as package images writes them
	Listen  string           // address; "" means a free port on 127.0.0.1
	Auth    Auth             // the zero value serves everyone
	TLS     *tls.Certificate // nil serves plain HTTP
}

// Server is a running registry.
type Server struct {
	catalog catalog
	auth    Auth
	http    *http.Server
	addr    net.Addr
	scheme  string
	done    chan error

	mu     sync.Mutex
	faults []*Fault
	log    []Request
}

// Request is one line of the server's log.
type Request struct {
	Method, Path, Range string
	Status              int
}

// Start serves the images of cfg.Layouts until Close.
func Start(cfg Config) (*Server, error) {
	c, err := load(cfg.Layouts)
	if err != nil {
		return nil, err
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("serve images: %w", err)
	}
	s := &Server{catalog: c, auth: cfg.Auth, addr: l.Addr(), scheme: "http", done: make(chan error, 1)}
	if cfg.TLS != nil {
		s.scheme = "https"
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cfg.TLS}, MinVersion: tls.VersionTLS12})
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { s.done <- s.http.Serve(l) }()
	return s, nil
}

// Addr returns the server's host:port, as image references name it.
func (s *Server) Addr() string { return s.addr.String() }

// URL returns the server's base URL.
func (s *Server) URL() string { return s.scheme + "://" + s.Addr() }

// Close ends the server and its connections.
func (s *Server) Close() error {
	err := s.http.Close()
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// Log returns the requests so far, oldest first.
func (s *Server) Log() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.log...)
}

// ServeHTTP implements the pull half of the distribution API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{ResponseWriter: w, status: http.StatusOK}
	s.serve(rec, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, Request{Method: r.Method, Path: r.URL.Path, Range: r.Header.Get("Range"), Status: rec.status})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == tokenPath {
		s.auth.serveToken(w, r)
		return
	}
	if f := s.takeFault(r); f != nil {
		spoiled := f.apply(w, r)
		if spoiled == nil {
			return
		}
		defer spoiled.finish()
		w = spoiled
	}
	if !s.auth.allowed(r) {
		s.auth.challenge(w, s.URL(), repositoryOf(r.URL.Path))
		return
	}
	s.route(w, r)
}

// route tells /v2/, /v2/NAME/{manifests,blobs,tags}/REFERENCE apart; NAME has slashes.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry is read-only")
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	if !ok {
		refuse(w, http.StatusNotFound, "NOT_FOUND", r.URL.Path)
		return
	}
	if rest == "" {
		w.WriteHeader(http.StatusOK)
		return
	}
	parts := strings.Split(rest, "/")
	if len(parts) < 3 {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", rest)
		return
	}
	n := len(parts)
	repository, kind, reference := strings.Join(parts[:n-2], "/"), parts[n-2], parts[n-1]
	switch {
	case kind == "manifests":
		s.serveManifest(w, r, repository, reference)
	case kind == "blobs":
		s.serveBlob(w, r, reference)
	case kind == "tags" && reference == "list":
		s.serveTags(w, repository)
	default:
		refuse(w, http.StatusNotFound, "NOT_FOUND", r.URL.Path)
	}
}

func repositoryOf(path string) string {
	parts := strings.Split(strings.TrimPrefix(path, "/v2/"), "/")
	return strings.Join(parts[:max(0, len(parts)-2)], "/")
}

// recorder remembers the status of a response.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
