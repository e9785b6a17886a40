package rpc

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Config is what the server is made of.
type Config struct {
	Pods       Pods
	Containers Containers
	Images     Images
	Network    Network
	Streams    Streams
	Healthy    func() error // nil error: containers can be started
	Version    string       // of berthd, semantic
	Systemd    bool         // the cgroup driver is systemd, not cgroupfs
	Info       Info
	Logger     *slog.Logger
}

// Info returns the JSON documents of a verbose Status, for people.
type Info func(ctx context.Context) (map[string]string, error)

// Server is the CRI server over gRPC. It answers Unavailable until [Server.SetReady].
type Server struct {
	grpc     *grpc.Server
	gate     *interceptor
	stopping chan struct{}
	stopOnce sync.Once
}

// window is how many bytes of requests may be on their way without being read.
const window = 1 << 20

// New returns a server that listens nowhere yet.
func New(c Config) *Server {
	gate := &interceptor{logger: c.Logger}
	stopping := make(chan struct{})
	s := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage),
		// An answer to ExecSync holds up to twice 16 MiB; clients refuse what is over their own limit.
		grpc.MaxSendMsgSize(3*maxMessage),
		// Else each request is followed by a ping, to learn how much a network holds that is none: the socket is on this machine.
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window),
		grpc.ChainUnaryInterceptor(gate.unary),
		grpc.ChainStreamInterceptor(gate.stream),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	runtimeapi.RegisterRuntimeServiceServer(s, &runtimeService{
		pods: c.Pods, containers: c.Containers, network: c.Network, streams: c.Streams,
		healthy: c.Healthy, version: c.Version, systemd: c.Systemd, info: c.Info, stopping: stopping,
	})
	runtimeapi.RegisterImageServiceServer(s, &imageService{images: c.Images, pulls: newPulls()})
	return &Server{grpc: s, gate: gate, stopping: stopping}
}

// SetReady lets requests in.
func (s *Server) SetReady() { s.gate.ready.Store(true) }

// Serve answers on l until [Server.Stop], and closes it.
func (s *Server) Serve(l net.Listener) error { return s.grpc.Serve(l) }

// Stop refuses new requests, ends streams of events, and waits for what else runs until ctx ends; then it breaks that
// off.
func (s *Server) Stop(ctx context.Context) {
	s.stopOnce.Do(func() { close(s.stopping) })
	stopped := context.AfterFunc(ctx, s.grpc.Stop)
	defer stopped()
	s.grpc.GracefulStop()
}

// runtimeService is CRI's RuntimeService. What it does not define answers Unimplemented.
type runtimeService struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	pods       Pods
	containers Containers
	network    Network
	streams    Streams
	healthy    func() error
	version    string
	systemd    bool
	info       Info
	stopping   <-chan struct{}
}

// imageService is CRI's ImageService.
type imageService struct {
	runtimeapi.UnimplementedImageServiceServer
	images Images
	pulls  *pulls
}
