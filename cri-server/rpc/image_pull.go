package rpc

import (
	"context"
	"errors"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/imagestore"
	"github.com/berth-runtime/berth/imagestore/registry"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// PullImage brings an image here and answers with its ID. While it runs, a verbose ImageStatus of the same name tells
// how far it is.
func (s *imageService) PullImage(ctx context.Context, req *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	var d decoder
	ref := d.imageSpec(req.GetImage())
	auth := d.auth(req.GetAuth())
	if d.err != nil {
		return nil, d.err
	}
	tell, done := s.pulls.begin(ref)
	defer done()
	image, err := s.images.Pull(ctx, imagestore.PullRequest{Ref: ref, Auth: auth, Progress: tell})
	if err != nil {
		return nil, withoutSecrets(err, auth)
	}
	return &runtimeapi.PullImageResponse{ImageRef: image.ID}, nil
}

func (d *decoder) imageSpec(s *runtimeapi.ImageSpec) string {
	if handler := s.GetRuntimeHandler(); handler != "" {
		d.fail("image.runtime_handler", "unknown handler %.128q; berth has only the default one, which has no name", handler)
	}
	return d.required("image.image", s.GetImage(), maxImage)
}

// maxSecret bounds a password or token; a registry's JSON web token has a few KiB.
const maxSecret = 64 << 10

func (d *decoder) auth(a *runtimeapi.AuthConfig) registry.Auth {
	return registry.Auth{
		Username:      d.line("auth.username", a.GetUsername(), maxSecret),
		Password:      d.text("auth.password", a.GetPassword(), maxSecret),
		Auth:          d.text("auth.auth", a.GetAuth(), maxSecret),
		ServerAddress: d.line("auth.server_address", a.GetServerAddress(), maxPath),
		IdentityToken: d.text("auth.identity_token", a.GetIdentityToken(), maxSecret),
		RegistryToken: d.text("auth.registry_token", a.GetRegistryToken(), maxSecret),
	}
}

// withoutSecrets blanks the caller's secrets in an error's text, should a registry have sent them back: the text goes to
// logs and to the pod's events, which many may read.
func withoutSecrets(err error, auth registry.Auth) error {
	text := err.Error()
	clean := text
	for _, secret := range []string{auth.Password, auth.Auth, auth.IdentityToken, auth.RegistryToken} {
		if len(secret) >= 4 { // less is a part of any word
			clean = strings.ReplaceAll(clean, secret, "***")
		}
	}
	if clean == text {
		return err
	}
	for _, m := range kindCodes() {
		if errors.Is(err, m.kind) {
			return errdefs.New(m.kind, "%s", clean)
		}
	}
	return errors.New(clean)
}
