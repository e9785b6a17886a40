package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (a *app) imagesCommand() *cobra.Command {
	var quiet, full bool
	cmd := &cobra.Command{
		Use:   "images [-q]",
		Short: "List images",
		Args:  arguments(0, 0),
		RunE: a.action(func(cmd *cobra.Command, n *node, _ []string) error {
			resp, err := n.images.ListImages(cmd.Context(), &cri.ListImagesRequest{})
			if err != nil {
				return stage(err, "list images")
			}
			t := newTable(a.out, quiet, "REPOSITORY", "TAG", "IMAGE ID", "SIZE")
			for _, i := range resp.GetImages() {
				id := i.GetId()
				if !full {
					id = short(id)
				}
				for _, name := range namesOf(i) {
					t.row(id, name[0], name[1], id, size(int64(i.GetSize())))
				}
			}
			return t.flush()
		}),
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "only IDs")
	cmd.Flags().BoolVar(&full, "no-trunc", false, "whole IDs")
	return cmd
}

// namesOf lists an image's repositories and tags.
func namesOf(i *cri.Image) [][2]string {
	const none = "<none>"
	var names [][2]string
	for _, tag := range i.GetRepoTags() {
		repository, name, _ := cutLast(tag, ":")
		names = append(names, [2]string{repository, name})
	}
	if names == nil && len(i.GetRepoDigests()) > 0 {
		repository, _, _ := strings.Cut(i.GetRepoDigests()[0], "@")
		names = append(names, [2]string{repository, none})
	}
	if names == nil {
		names = append(names, [2]string{none, none})
	}
	return names
}

func (a *app) rmiCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rmi IMAGE...",
		Short: "Remove images, each with all its tags",
		Args:  arguments(1, unlimited),
		RunE: a.action(func(cmd *cobra.Command, n *node, args []string) error {
			return each(args, func(ref string) error {
				spec := &cri.ImageSpec{Image: ref}
				resp, err := n.images.ImageStatus(cmd.Context(), &cri.ImageStatusRequest{Image: spec})
				if err != nil {
					return stage(err, "look for image %s", ref)
				}
				if resp.GetImage() == nil {
					return fmt.Errorf("remove image %s: it is not here; see berth images", ref)
				}
				if _, err := n.images.RemoveImage(cmd.Context(), &cri.RemoveImageRequest{Image: spec}); err != nil {
					return stage(err, "remove image %s", ref)
				}
				_, err = fmt.Fprintln(a.out, ref)
				return err
			})
		}),
	}
}
