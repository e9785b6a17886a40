package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/node"
	"github.com/berth-runtime/berth/test/registry"
)

// wantError wants an error of one of the codes whose text holds all parts.
func wantError(t *testing.T, err error, allowed []codes.Code, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error; want one that says %q", parts)
		return
	}
	code := status.Code(err)
	known := false
	for _, c := range allowed {
		known = known || c == code
	}
	if !known {
		t.Errorf("code %v, want one of %v: %v", code, allowed, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

func (f *fixture) pull(ctx context.Context, ref string) (string, error) {
	r, err := f.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref}})
	return r.GetImageRef(), err
}

func TestPullOfWhatIsNotThere(t *testing.T) {
	f := setup(t, node.Options{})
	for ref, want := range map[string]struct {
		codes []codes.Code
		parts []string
	}{
		"docker.io/berth/web:none":                                 {[]codes.Code{codes.NotFound}, []string{"docker.io/berth/web:none"}},
		"docker.io/berth/nothing:1":                                {[]codes.Code{codes.NotFound}, []string{"docker.io/berth/nothing:1"}},
		"docker.io/berth/web@sha256:" + strings.Repeat("0123", 16): {[]codes.Code{codes.NotFound}, []string{"sha256:0123"}},
		"docker.io/berth/WEB:1":                                    {[]codes.Code{codes.InvalidArgument}, []string{"berth/WEB"}},
		"":                                                         {[]codes.Code{codes.InvalidArgument}, nil},
		"docker.io/berth/web@sha256:12":                            {[]codes.Code{codes.InvalidArgument}, []string{"sha256:12"}},
		strings.Repeat("a", 5000):                                  {[]codes.Code{codes.InvalidArgument}, nil},
	} {
		_, err := f.pull(t.Context(), ref)
		wantError(t, err, want.codes, want.parts...)
	}
	p := f.pod(t, "p")
	_, err := f.CreateContainer(t.Context(), &cri.CreateContainerRequest{PodSandboxId: p.ID, SandboxConfig: p.Config, Config: node.ContainerConfig("c", web)})
	wantError(t, err, []codes.Code{codes.NotFound}, "berth/web")
	f.wantNoImages(t)
}

// wantNoImages wants no image, and no bytes of one, at once or a moment later.
func (f *fixture) wantNoImages(t *testing.T) {
	t.Helper()
	r, err := f.ListImages(t.Context(), &cri.ListImagesRequest{})
	testutil.Must(t, err)
	if len(r.GetImages()) > 0 {
		t.Errorf("images: %v", r.GetImages())
	}
	err = node.Eventually(t.Context(), 30*time.Second, func() error {
		if n := f.rootBytes(t); n > 200<<10 {
			return fmt.Errorf("%d bytes lie in the root folder", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// rootBytes counts the bytes of all files below the root folder, each once however many names it has.
func (f *fixture) rootBytes(t *testing.T) (n int64) {
	t.Helper()
	seen := map[uint64]bool{}
	testutil.Must(t, filepath.WalkDir(filepath.Join(f.Dir, "root"), func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return nil // removed meanwhile, or no file
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if st, ok := info.Sys().(*syscall.Stat_t); err == nil && ok && !seen[st.Ino] {
			seen[st.Ino] = true
			n += st.Blocks * 512
		}
		return err
	}))
	return n
}

// TestBadRegistry wants each misbehaviour of a registry to give a clear error and to leave nothing, and the pull to work
// once the registry behaves.
func TestBadRegistry(t *testing.T) {
	for name, c := range map[string]struct {
		fault registry.Fault
		codes []codes.Code
		parts []string
	}{
		"wrong blob":    {registry.Fault{Match: "/blobs/", Corrupt: true}, []codes.Code{codes.DataLoss, codes.InvalidArgument, codes.Unknown, codes.Internal}, []string{"digest"}},
		"blob too long": {registry.Fault{Match: "/blobs/", Extra: 1 << 20}, []codes.Code{codes.DataLoss, codes.InvalidArgument, codes.Unknown, codes.Internal}, []string{"larger than"}},
		"refuses":       {registry.Fault{Status: 403}, []codes.Code{codes.PermissionDenied}, []string{"403"}},
		"server error":  {registry.Fault{Status: 500}, []codes.Code{codes.Unavailable, codes.Unknown}, []string{"500"}},
		"cuts":          {registry.Fault{Match: "/blobs/", Truncate: 1000}, []codes.Code{codes.Unavailable, codes.Unknown, codes.DataLoss}, []string{"berth/web"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t, node.Options{})
			f.registry.Inject(c.fault)
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			defer cancel()
			_, err := f.pull(ctx, web)
			wantError(t, err, c.codes, append(c.parts, "berth/web")...)
			f.wantNoImages(t)
			f.registry.ClearFaults()
			if _, err := f.pull(t.Context(), web); err != nil {
				t.Errorf("pull from the repaired registry: %v", err)
			}
		})
	}
}

// TestRegistryThatAsksToWait wants short faults to be waited out.
func TestRegistryThatAsksToWait(t *testing.T) {
	f := setup(t, node.Options{})
	f.registry.Inject(registry.Fault{Match: "/manifests/", Status: 429, RetryAfter: "1", Times: 1})
	f.registry.Inject(registry.Fault{Match: "/blobs/", Truncate: 100_000, Times: 1})
	if _, err := f.pull(t.Context(), web); err != nil {
		t.Error(err)
	}
}

func TestRegistryThatIsDownOrSlow(t *testing.T) {
	f := setup(t, node.Options{})
	dir := filepath.Join(f.Certs, "down.example")
	testutil.Must(t, os.MkdirAll(dir, 0o755))
	testutil.Must(t, os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte("server = \"http://127.0.0.1:9\"\n"), 0o644))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := f.pull(ctx, "down.example/a/b:1")
	wantError(t, err, []codes.Code{codes.Unavailable}, "127.0.0.1:9")

	f.registry.Inject(registry.Fault{Match: "/blobs/", Rate: 20 << 10})
	ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	began := time.Now()
	_, err = f.pull(ctx, web)
	wantError(t, err, []codes.Code{codes.DeadlineExceeded})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the deadline of 2 s is answered after %v", took)
	}
	f.registry.ClearFaults()
	if _, err := f.pull(t.Context(), web); err != nil {
		t.Errorf("the pull after an interrupted one: %v", err)
	}
}

// TestDiskFull wants a pull that does not fit to say so and to leave room for one that does. berthd keeps 64 MiB of the disk
// for others, and what the first pull got for its next try, unless the room is needed.
func TestDiskFull(t *testing.T) {
	f := setup(t, node.Options{RootSize: "68m"})
	_, err := f.pull(t.Context(), web)
	wantError(t, err, []codes.Code{codes.ResourceExhausted}, "free", "berth/web")
	list, err := f.ListImages(t.Context(), &cri.ListImagesRequest{})
	testutil.Must(t, err)
	if len(list.GetImages()) > 0 {
		t.Errorf("images: %v", list.GetImages())
	}
	if _, err := f.pull(t.Context(), busybox); err != nil {
		t.Errorf("a smaller image does not fit: %v", err)
	}
}
