package crash

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/node"
	"github.com/berth-runtime/berth/test/registry"
)

// TestDaemonKilledMidway kills berthd at many moments of a pod's life, starts it again, and wants the same request to
// succeed then and its removal to leave nothing.
func TestDaemonKilledMidway(t *testing.T) {
	f := setup(t)
	testutil.Must(t, f.EnsureImage(t.Context(), busybox))
	for i, after := range []time.Duration{0, 1, 2, 3, 5, 7, 9, 12, 15, 20, 25, 30, 40, 60} {
		name := fmt.Sprintf("p%d", i)
		client := f.Client
		done := make(chan struct{})
		go func() { // errors are expected: the connection breaks
			defer close(done)
			p, err := client.RunPod(t.Context(), node.PodConfig(name, f.logs))
			if err != nil {
				return
			}
			if _, err = p.Run(t.Context(), node.ContainerConfig("c", busybox, "sleep", "1000")); err == nil {
				_ = p.Remove(t.Context())
			}
		}()
		time.Sleep(after * time.Millisecond)
		testutil.Must(t, f.Kill())
		<-done
		f.start(t)
		p, err := f.RunPod(t.Context(), node.PodConfig(name, f.logs))
		if status.Code(err) == codes.AlreadyExists { // its removal had begun: it ends first, as a kubelet would have it
			testutil.Must(t, f.RemoveAll(t.Context()))
			p, err = f.RunPod(t.Context(), node.PodConfig(name, f.logs))
		}
		if err != nil {
			t.Fatalf("killed after %d ms: the retry: %v", after, err)
		}
		list, err := f.ListContainers(t.Context(), &cri.ListContainersRequest{Filter: &cri.ContainerFilter{PodSandboxId: p.ID}})
		testutil.Must(t, err)
		if len(list.GetContainers()) == 0 {
			run(t, p, "c", busybox, "sleep", "1000")
		}
		testutil.Must(t, f.RemoveAll(t.Context()))
		if left, err := f.Leftovers(); err != nil || len(left) > 0 {
			t.Fatalf("killed after %d ms: left: %q, %v", after, left, err)
		}
	}
}

// TestDaemonKilledWhileItPulls wants the next pull to succeed, and nothing of the first to be left when the image is gone.
func TestDaemonKilledWhileItPulls(t *testing.T) {
	f := setup(t)
	for _, after := range []time.Duration{20, 100, 300, 600} {
		f.registry.Inject(registry.Fault{Match: "/blobs/", Rate: 8 << 20})
		client := f.Client
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = client.PullImage(t.Context(), &cri.PullImageRequest{Image: &cri.ImageSpec{Image: web}}) // it breaks
		}()
		time.Sleep(after * time.Millisecond)
		testutil.Must(t, f.Kill())
		<-done
		f.registry.ClearFaults()
		f.start(t)
		testutil.Must(t, f.EnsureImage(t.Context(), web))
		p := f.pod(t, "p")
		c := run(t, p, "c", web)
		if out := exec(t, c, "ls", "/usr/sbin/web"); out != "/usr/sbin/web\n" {
			t.Errorf("the image is not whole: %q", out)
		}
		testutil.Must(t, p.Remove(t.Context()))
		_, err := f.RemoveImage(t.Context(), &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: web}})
		testutil.Must(t, err)
		info, err := f.ImageFsInfo(t.Context(), &cri.ImageFsInfoRequest{})
		testutil.Must(t, err)
		if used := info.GetImageFilesystems()[0].GetUsedBytes().GetValue(); used > 200<<10 {
			t.Errorf("%d bytes are used after the image's removal", used)
		}
	}
}
