package rpc

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// ListImages lists all images, or the one that the filter names.
func (s *imageService) ListImages(ctx context.Context, req *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	items, err := s.listImages(ctx, req.GetFilter())
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ListImagesResponse{Images: items}, nil
}

// StreamImages is ListImages without a limit of size.
func (s *imageService) StreamImages(req *runtimeapi.StreamImagesRequest, out grpc.ServerStreamingServer[runtimeapi.StreamImagesResponse]) error {
	items, err := s.listImages(out.Context(), req.GetFilter())
	if err != nil {
		return err
	}
	return sendChunks(items, func(part []*runtimeapi.Image) error {
		return out.Send(&runtimeapi.StreamImagesResponse{Images: part})
	})
}

func (s *imageService) listImages(ctx context.Context, f *runtimeapi.ImageFilter) ([]*runtimeapi.Image, error) {
	var d decoder
	ref := d.line("filter.image.image", f.GetImage().GetImage(), maxImage)
	if d.err != nil {
		return nil, d.err
	}
	if ref != "" {
		image, err := s.images.Resolve(ctx, ref)
		if errors.Is(err, errdefs.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []*runtimeapi.Image{encodeImage(image)}, nil
	}
	images, err := s.images.List(ctx)
	if err != nil {
		return nil, err
	}
	var items []*runtimeapi.Image
	for _, image := range images {
		items = append(items, encodeImage(image))
	}
	return items, nil
}
