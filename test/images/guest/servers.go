package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// nginx starts itself again under the title of nginx's first process, for tests that read /proc/1/cmdline.
func nginx() error {
	const title = "nginx: master process nginx -g daemon off;"
	if os.Args[0] != title {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		return syscall.Exec(exe, []string{title}, os.Environ())
	}
	if err := os.WriteFile("/var/run/nginx.pid", []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return err
	}
	return serve("<!DOCTYPE html>\n<title>Welcome to nginx!</title>\n")
}

func httpd() error {
	log.Printf("httpd: resuming normal operations")
	return serve("<html><body><h1>It works!</h1></body></html>\n")
}

// serve answers every request on $PORT with one page, until told to end.
func serve(page string) error {
	return listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.Printf("%s %q", r.RemoteAddr, r.Method+" "+r.URL.Path)
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, page) // a client that went away is no concern of the server
	}))
}

func listen(h http.Handler) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	defer stop()
	s := &http.Server{Addr: ":" + port(), Handler: h, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// web tells who answers whom, over HTTP and, on the same port, over UDP.
func web() error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	go echoUDP(host)
	log.Printf("web: serving on port %s as %s", port(), host)
	return listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.Printf("%s %s %s", r.RemoteAddr, r.Method, r.URL.Path)
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		fmt.Fprintf(w, "Hello from %s at %s, %s.\n", host, local, os.Getenv("GREETING"))
		fmt.Fprintf(w, "You are %s and asked for %s.\n", r.RemoteAddr, r.URL.Path)
	}))
}

func echoUDP(host string) {
	conn, err := net.ListenPacket("udp", ":"+port())
	if err != nil {
		log.Printf("web: udp: %v", err)
		return
	}
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			log.Printf("web: udp: %v", err)
			return
		}
		if _, err := conn.WriteTo([]byte(host+": "+strings.TrimSpace(string(buf[:n]))), from); err != nil {
			log.Printf("web: udp: %v", err)
		}
	}
}

func port() string {
	if p := os.Getenv("PORT"); p != "" {
		return p
	}
	return "80"
}
