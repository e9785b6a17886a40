package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-runtime/berth/cri-server/autoremove"
	"github.com/berth-runtime/berth/cri-server/config"
	"github.com/berth-runtime/berth/cri-server/network"
	"github.com/berth-runtime/berth/cri-server/pod"
	"github.com/berth-runtime/berth/cri-server/rpc"
	"github.com/berth-runtime/berth/cri-server/spec"
	"github.com/berth-runtime/berth/cri-server/stream"
	"github.com/berth-runtime/berth/imagestore"
	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/internal/version"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/container"
	"github.com/berth-runtime/berth/runtime/supervise"
)

// patience is how long running requests have to end once berthd stops. What they did not finish is recovered at the
// next start, as after a crash.
const patience = 5 * time.Second

// monitorSlack is how late the Go runtime's monitor may come: see ADR 11.
const monitorSlack = 500 * time.Microsecond

// Run runs berthd until ctx ends, and leaves pods and the keeper running. An error means that it could not start, or that
// a server broke.
//
// The order of the starts is that of the needs: a folder and a socket that nobody else uses, images and networks, the
// runtime with its keeper, the pods over them all, and the servers last. They answer before recovery has ended, so that
// clients hear "try again" instead of "nobody there", but let no request in. The stop order is the reverse, and lies on
// one stack.
func Run(ctx context.Context, cfg config.Config, log *slog.Logger) (err error) {
	stream.LogTo(log.With("part", "stream"))
	stop := cleanup.Make(&err) // never released
	defer stop.Clean()

	if err := checkRoot(); err != nil {
		return err
	}
	if err := sys.CalmMonitor(monitorSlack); err != nil {
		log.WarnContext(ctx, "this costs some processor time and nothing else", "err", err)
	}
	held, err := lock(cfg.State)
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	stop.Add(held.Close)
	listener, err := listen(ctx, cfg.Listen)
	if err != nil {
		return err
	}
	stop.Add(listener.Close)
	images, err := imagestore.Open(ctx, imagestore.Config{ // locks its folder itself
		Root: filepath.Join(cfg.Root, "images"), CertsDir: cfg.Registry.CertsDir, Logger: log.With("part", "images"),
		Places: spec.PodFiles(),
	})
	if err != nil {
		return err
	}
	stop.Add(images.Close)
	networks, err := network.New(network.Config{
		ConfDir: cfg.CNI.ConfDir, BinDirs: cfg.CNI.BinDirs, CacheDir: filepath.Join(cfg.State, "cni"),
		DefaultName: cfg.CNI.Default, PluginTimeout: time.Duration(cfg.CNI.PluginTimeout), Logger: log.With("part", "network"),
	})
	if err != nil {
		return err
	}
	stop.Add(networks.Close)
	cgroups, err := cgroup.Detect()
	if err != nil {
		return err
	}
	stop.Add(cgroups.Close)
	if cgroups, err = driver(cfg.Cgroup, cgroups); err != nil {
		return err
	}
	keeperGroup, err := own(ctx, cfg, cgroups, stop)
	if err != nil {
		return err
	}
	// Before the keeper is started: a berthd that can't be heard must not leave one behind.
	streamListener, err := stream.Listen(ctx, cfg.Stream.Address)
	if err != nil {
		return err
	}
	stop.Add(func() error { return stream.CloseListener(streamListener) })
	keepers := supervise.New(supervise.Config{
		Binary: cfg.Keeper.Binary, Socket: filepath.Join(cfg.State, "keeper", "keeper.sock"),
		StateDir: filepath.Join(cfg.State, "keeper"), Cgroup: keeperGroup, Logger: log.With("part", "keeper"),
	})
	stop.Add(keepers.Close)
	containers, err := container.New(ctx, container.Config{
		State: filepath.Join(cfg.State, "stdio"), Cgroups: cgroups, Keeper: keepers, Logger: log.With("part", "runtime"),
	})
	if err != nil {
		return err
	}
	stop.Add(containers.Close)
	pods, err := pod.New(ctx, pod.Config{
		State: cfg.State, Volumes: filepath.Join(cfg.Root, "volumes"), CgroupRoot: cfg.Cgroup.Parent, Systemd: cfg.Cgroup.Driver == config.Systemd,
		Collect: time.Duration(cfg.CNI.GCInterval), Images: images, Network: networks, Runtime: pod.Native(containers), Cgroups: pod.HostCgroups(cgroups),
		Namespaces: pod.PinnedNamespaces(), Machine: pod.Linux(), Logger: log.With("part", "pods"),
	})
	if err != nil {
		return err
	}
	// The runtime's exits end first, as the manager reads them until then. Closing it twice is fine.
	stop.Add(func() error { return errors.Join(containers.Close(), pods.Close()) })
	streams := stream.New(ctx, stream.Config{Listener: streamListener, Runtime: pods, Logger: log.With("part", "stream")})
	stop.Add(streams.Close)
	server := rpc.New(rpc.Config{
		Pods: pods, Containers: pods, Images: images, Network: networks, Streams: streams, Healthy: containers.Healthy,
		Version: version.Semantic(), Systemd: cfg.Cgroup.Driver == config.Systemd, Info: describe(cfg, networks), Logger: log.With("part", "rpc"),
	})
	return serve(ctx, cfg, log, parts{listener: listener, pods: pods, server: server, streams: streams, networks: networks})
}

// parts are what serve needs.
type parts struct {
	listener net.Listener
	pods     *pod.Manager
	server   *rpc.Server
	streams  *stream.Server
	networks *network.Network
}

// serve answers on both servers until ctx ends or one of them breaks.
func serve(ctx context.Context, cfg config.Config, log *slog.Logger, p parts) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.server.Serve(p.listener) })
	group.Go(p.streams.Serve)
	group.Go(func() error {
		err := beReady(ctx, cfg, log, p)
		halt, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		closed := p.streams.Close() // before the RPCs: an ExecSync may wait for nothing, a stream waits for its client
		p.server.Stop(halt)
		return errors.Join(err, closed)
	})
	return group.Wait()
}

// beReady recovers what a former berthd left, lets requests in, and waits until ctx ends. Meanwhile it removes the pods
// that asked for it.
func beReady(ctx context.Context, cfg config.Config, log *slog.Logger, p parts) error {
	begin := time.Now()
	if err := p.pods.Recover(ctx); err != nil {
		return fmt.Errorf("recover pods: %w", err)
	}
	p.server.SetReady()
	ended := make(chan error, 1)
	go func() {
		ended <- autoremove.Run(ctx, p.pods, filepath.Join(cfg.Root, "logs"), log.With("part", "autoremove"))
	}()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := p.networks.Watch(ctx); err != nil {
			log.WarnContext(ctx, "firewall rules that others delete will not come back by themselves", "err", err)
		}
	}()
	log.InfoContext(ctx, "berthd is ready", "version", version.String(), "listen", cfg.Listen, "state", cfg.State, "recovery", time.Since(begin))
	manager := os.Getenv("NOTIFY_SOCKET")
	if err := notify(manager, "READY=1"); err != nil {
		return err
	}
	<-ctx.Done()
	log.InfoContext(ctx, "berthd stops; pods go on")
	<-watched
	return errors.Join(notify(manager, "STOPPING=1"), <-ended)
}
