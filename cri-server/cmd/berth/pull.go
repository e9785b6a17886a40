package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/errdefs"
)

func (a *app) pullCommand() *cobra.Command {
	var creds string
	cmd := &cobra.Command{
		Use:   "pull IMAGE",
		Short: "Bring an image here and print its name",
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			auth, err := parseCreds(creds)
			if err != nil {
				return err
			}
			n, err := connect(cmd.Context(), a.socket)
			if err != nil {
				return err
			}
			defer n.close()
			id, err := a.pull(cmd.Context(), n, args[0], auth)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, n.imageName(cmd.Context(), args[0], id))
			return err
		},
	}
	cmd.Flags().StringVar(&creds, "creds", "", "`USER:PASSWORD` at the registry")
	return cmd
}

func parseCreds(text string) (*cri.AuthConfig, error) {
	if text == "" {
		return nil, nil
	}
	user, password, ok := strings.Cut(text, ":")
	if !ok || user == "" {
		return nil, errdefs.Invalid("--creds: give USER:PASSWORD")
	}
	return &cri.AuthConfig{Username: user, Password: password}, nil
}

// pull brings an image here and returns its ID, showing how far it is if somebody looks.
func (a *app) pull(ctx context.Context, n *node, image string, auth *cri.AuthConfig) (string, error) {
	bar := a.startProgress(ctx, n, image)
	resp, err := n.images.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: image}, Auth: auth})
	bar.stop()
	if err != nil {
		return "", withoutRepeat(stage(err, "pull %s", image), image)
	}
	return resp.GetImageRef(), nil
}

// withoutRepeat leaves the first of two names of the same image out: the server says the whole one.
func withoutRepeat(err error, image string) error {
	rpc, ok := errors.AsType[*rpcError](err)
	if !ok {
		return err
	}
	if rest, found := strings.CutPrefix(rpc.text, "pull "+image+": "); found && strings.HasPrefix(rest, "pull ") {
		return &rpcError{text: rest, err: rpc.err}
	}
	return err
}

// ensureImage has the image here, as policy (--pull) says.
func (a *app) ensureImage(ctx context.Context, n *node, image, policy string) error {
	if policy == "always" {
		_, err := a.pull(ctx, n, image, nil)
		return err
	}
	resp, err := n.images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: image}})
	if err != nil {
		return stage(err, "look for image %s", image)
	}
	if resp.GetImage() != nil {
		return nil
	}
	if policy == "never" {
		return errdefs.NotFound("image %s is not here; pull it, or leave --pull never out", image)
	}
	_, err = a.pull(ctx, n, image, nil)
	return err
}

// imageName is an image's whole name, or what was asked for if it has none.
func (n *node) imageName(ctx context.Context, asked, id string) string {
	resp, err := n.images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: id}})
	if err != nil || len(resp.GetImage().GetRepoTags()) != 1 {
		return asked // which of several names was meant only the server could say
	}
	return resp.GetImage().GetRepoTags()[0]
}
