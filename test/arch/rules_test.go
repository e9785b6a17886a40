package arch

// module is the repository's import path.
const module = "github.com/berth-runtime/berth"

// only says which packages may import another one directly.
type only struct {
	target  string   // import path, or its beginning when it ends with "/…"
	by      []string // folders of this module, "/…" for everything below
	because string
}

// onlyRules hold for non-test code.
var onlyRules = []only{
	{
		"golang.org/x/sys/unix",
		[]string{"internal/sys", "runtime/fork", "netns"},
		"raw system calls have one home, where errno, EINTR and O_CLOEXEC are dealt with; the fork loop and namespaces are the two that need more",
	},
	{
		"google.golang.org/grpc/…",
		[]string{"cri-server/rpc", "cri-server/stream", "cri-server/cmd/berth", "test/…"},
		"CRI is an edge: the engine below must not know how it is asked",
	},
	{
		"google.golang.org/protobuf/…",
		[]string{"cri-server/rpc", "cri-server/stream", "cri-server/cmd/berth", "test/…"},
		"as grpc",
	},
	{
		"k8s.io/cri-api/…",
		[]string{"cri-server/rpc", "cri-server/stream", "cri-server/cmd/berth", "test/…"},
		"CRI types end at the edge; the packages below have their own",
	},
	{
		"k8s.io/cri-streaming/…",
		[]string{"cri-server/stream", "test/…"},
		"exec, attach and port-forward protocols are served in one place",
	},
	{
		"k8s.io/client-go/…",
		[]string{"cri-server/cmd/berth", "cri-server/stream", "test/…"},
		"a large dependency that only the client of the streaming protocols needs",
	},
	{
		"github.com/containernetworking/cni/libcni",
		[]string{"cri-server/network", "test/cni-conformance"},
		"chains of plugins are run in one place",
	},
	{
		"github.com/containernetworking/…",
		[]string{"cri-server/network", "cni-plugins/…", "test/cni-conformance"},
		"CNI is spoken by the one that runs plugins and by the plugins",
	},
	{
		"github.com/godbus/…",
		[]string{"runtime/systemd", "test/fakesystemd"},
		"one package speaks to systemd, and nothing else speaks D-Bus",
	},
	{
		"go.etcd.io/bbolt",
		[]string{"imagestore/…"},
		"the only durable state is that of images",
	},
	{
		"oras.land/…",
		[]string{"imagestore/registry", "imagestore", "test/…"},
		"registries are spoken to in one place",
	},
	{
		"github.com/google/go-containerregistry/…",
		[]string{"test/…"},
		"builds test images; berth pulls with its own verifying code",
	},
	{
		"github.com/spf13/cobra",
		[]string{"cri-server/cmd/…", "runtime/cmd/…"},
		"command lines belong to commands",
	},
	{
		"github.com/opencontainers/runtime-spec/…",
		[]string{"cri-server/spec", "cri-server/pod", "runtime/plan", "runtime/prepare", "runtime/container", "runtime/oci", "runtime/cgroup", "runtime/rootfs", "runtime/seccomp", "runtime/seccomp/agent", "runtime/cmd/berth-oci", "test/…"},
		"the spec is the language between pod and runtime, and nobody else's",
	},
	{
		module + "/internal/testutil",
		[]string{"test/…", "cni-plugins/internal/plugintest"},
		"test helpers are no part of the product",
	},
	{
		"unsafe",
		[]string{"internal/sys", "runtime/fork", "test/vm/guest"},
		"memory is handed to the kernel in these places only",
	},
}

// never says what a package must not depend on, directly or through others.
type never struct {
	from    string   // folder of this module, "/…" for everything below
	targets []string // import paths, "/…" for everything below
	because string
}

var neverRules = []never{
	{
		"internal/…",
		[]string{module + "/cri-server/…", module + "/runtime/…", module + "/imagestore/…", module + "/netns", module + "/cni-plugins/…"},
		"internal packages are leaves",
	},
	{
		"netns",
		[]string{module + "/cri-server/…", module + "/runtime/…", module + "/imagestore/…", module + "/cni-plugins/…"},
		"siblings never import each other: pod carries values between them",
	},
	{
		"imagestore/…",
		[]string{module + "/cri-server/…", module + "/runtime/…", module + "/netns", module + "/cni-plugins/…"},
		"siblings never import each other: pod carries values between them",
	},
	{
		"runtime/…",
		[]string{module + "/cri-server/…", module + "/imagestore/…", module + "/netns", module + "/cni-plugins/…"},
		"siblings never import each other: pod carries values between them",
	},
	{
		"cri-server/network",
		[]string{module + "/runtime/…", module + "/imagestore/…", module + "/cri-server/spec", module + "/cri-server/pod", module + "/cri-server/rpc"},
		"siblings never import each other: pod carries values between them",
	},
	{
		"cri-server/spec",
		[]string{module + "/runtime/…", module + "/imagestore/…", module + "/netns", module + "/cri-server/network", module + "/cri-server/pod", module + "/cri-server/rpc"},
		"siblings never import each other, and a pure package touches nothing",
	},
	{
		"cri-server/pod",
		[]string{module + "/cri-server/rpc", module + "/cri-server/daemon", module + "/cri-server/config", "google.golang.org/grpc/…", "k8s.io/…"},
		"direction: daemon → rpc → pod",
	},
	{
		"cri-server/rpc",
		[]string{module + "/cri-server/daemon"},
		"direction: daemon → rpc → pod",
	},
	{
		"cni-plugins/…",
		[]string{module + "/cri-server/…", module + "/runtime/…", module + "/imagestore/…", "google.golang.org/grpc/…", "github.com/containernetworking/cni/libcni"},
		"plugins work with any runtime",
	},
	{
		"runtime/cmd/berth-keeper",
		[]string{
			"google.golang.org/grpc/…", "google.golang.org/protobuf/…", "net/http", "github.com/opencontainers/runtime-spec/…", "k8s.io/…",
			module + "/cri-server/…", module + "/imagestore/…", module + "/netns", module + "/runtime/container", module + "/runtime/plan", module + "/runtime/cgroup",
		},
		"the keeper is small, rarely changed and there once per node: it knows system calls, not containers",
	},
	{
		"runtime/keeper",
		[]string{"google.golang.org/…", "net/http", "github.com/opencontainers/…", "k8s.io/…", module + "/runtime/container", module + "/runtime/plan", module + "/runtime/cgroup", module + "/runtime/rootfs"},
		"as berth-keeper",
	},
	{
		"cri-server/cmd/berth",
		[]string{module + "/cri-server/pod", module + "/cri-server/daemon", module + "/runtime/…", module + "/imagestore/…", module + "/netns"},
		"the client speaks CRI on the socket and nothing else",
	},
}
