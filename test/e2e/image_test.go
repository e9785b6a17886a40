package e2e

import (
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/testutil"
	"github.com/berth-runtime/berth/test/node"
	"github.com/berth-runtime/berth/test/registry"
)

// TestWhiteouts wants a container to see what the layers say: deleted, hidden and replaced files, owners, links, volumes.
func TestWhiteouts(t *testing.T) {
	f := setup(t, node.Options{})
	p := f.pod(t, "p")
	c := run(t, p, "c", layers, "sleep", "1000")
	for script, want := range map[string]string{
		"ls /gone 2>/dev/null; echo $?":                                "1",
		"ls /opaque":                                                   "shown",
		"cat /was-folder; stat -c %a /was-folder":                      "a file now\n600",
		"stat -c '%u %g %a' /data /data/kept":                          "33 33 750\n33 33 640",
		"cat /soft; stat -c %h /hard/a":                                "linked\n2",
		"touch /written && rm /hard/b && ls /hard":                     "a",
		"stat -c %a /tmp":                                              "1777",
		"mount | grep ' /data ' >/dev/null; echo $? $(cat /data/kept)": "0 kept",
	} {
		if out := strings.TrimSpace(exec(t, c, "sh", "-c", script)); out != want {
			t.Errorf("%s: %q, want %q", script, out, want)
		}
	}
	other := run(t, p, "other", layers, "sleep", "1000")
	if out := exec(t, other, "sh", "-c", "ls /written /hard/b 2>&1 | grep -c 'No such'"); out != "1\n" {
		t.Errorf("one container's changes show in another: %q", out)
	}
}

// TestReferences wants tag, digest, both and ID to name one image, and a removal by one of them to remove all.
func TestReferences(t *testing.T) {
	f := setup(t, node.Options{})
	id, err := f.pull(t.Context(), web)
	testutil.Must(t, err)
	s, err := f.ImageStatus(t.Context(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: web}})
	testutil.Must(t, err)
	if s.GetImage().GetId() != id || len(s.GetImage().GetRepoDigests()) != 1 {
		t.Fatalf("image %v, pulled as %s", s.GetImage(), id)
	}
	digest := s.GetImage().GetRepoDigests()[0]
	_, sum, _ := strings.Cut(digest, "@")
	both := web + "@" + sum
	for _, ref := range []string{digest, both} {
		again, err := f.pull(t.Context(), ref)
		testutil.Must(t, err)
		if again != id {
			t.Errorf("%s is %s, want %s", ref, again, id)
		}
	}
	for _, ref := range []string{id, strings.TrimPrefix(id, "sha256:"), digest, web, strings.TrimPrefix(web, "docker.io/")} {
		s, err := f.ImageStatus(t.Context(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: ref}})
		testutil.Must(t, err)
		if s.GetImage().GetId() != id {
			t.Errorf("%s finds %v", ref, s.GetImage())
		}
	}
	used, err := f.ImageFsInfo(t.Context(), &cri.ImageFsInfoRequest{})
	testutil.Must(t, err)
	if n := used.GetImageFilesystems()[0].GetUsedBytes().GetValue(); n < 5<<20 {
		t.Errorf("%d bytes used with an image of 8 MB", n)
	}
	_, err = f.RemoveImage(t.Context(), &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: digest}})
	testutil.Must(t, err)
	f.wantNoImages(t)
}

// TestPullsAtOnce wants one transfer per layer, however many ask for it. Configs are a few hundred bytes and come with every pull.
func TestPullsAtOnce(t *testing.T) {
	f := setup(t, node.Options{})
	var wg sync.WaitGroup
	var configs sync.Map // image IDs
	for _, ref := range []string{web, web, busybox, nginx, web, layers, nginx} {
		wg.Go(func() {
			id, err := f.pull(t.Context(), ref)
			if err != nil {
				t.Errorf("%s: %v", ref, err)
			}
			configs.Store(id, true)
		})
	}
	wg.Wait()
	fetched := map[string]int{}
	for _, r := range f.registry.Log() {
		if strings.Contains(r.Path, "/blobs/") && r.Method == "GET" && r.Range == "" {
			fetched[r.Path[strings.LastIndex(r.Path, "/")+1:]]++
		}
	}
	for blob, n := range fetched {
		if _, config := configs.Load(blob); n > 1 && !config {
			t.Errorf("blob %s was fetched %d times", blob, n)
		}
	}
}

// TestAuthentication wants credentials of the request to be used, and their absence and falsehood to be told apart from a
// missing image.
func TestAuthentication(t *testing.T) {
	layout, err := node.ImageLayout()
	testutil.Must(t, err)
	for _, scheme := range []registry.Scheme{registry.Basic, registry.Bearer} {
		t.Run(string(scheme), func(t *testing.T) {
			f := setup(t, node.Options{})
			private, err := registry.Start(registry.Config{Layouts: []string{layout}, Auth: registry.Auth{Scheme: scheme, User: "u", Password: "secret-word"}})
			testutil.Must(t, err)
			t.Cleanup(func() { testutil.Must(t, private.Close()) })
			testutil.Must(t, private.WriteHosts(f.Certs, "private.example"))
			ref := "private.example/berth/web:1"
			try := func(auth *cri.AuthConfig) error {
				_, err := f.PullImage(t.Context(), &cri.PullImageRequest{Image: &cri.ImageSpec{Image: ref}, Auth: auth})
				return err
			}
			denied := []codes.Code{codes.Unauthenticated, codes.PermissionDenied}
			wantError(t, try(nil), denied, "private.example")
			err = try(&cri.AuthConfig{Username: "u", Password: "wrong-word"})
			wantError(t, err, denied, "private.example")
			if err != nil && strings.Contains(err.Error(), "wrong-word") {
				t.Errorf("the error shows the password: %v", err)
			}
			testutil.Must(t, try(&cri.AuthConfig{Username: "u", Password: "secret-word"}))
			if log := f.LogTail(1 << 20); strings.Contains(log, "secret-word") || strings.Contains(log, "wrong-word") {
				t.Error("the log shows a password")
			}
		})
	}
}
