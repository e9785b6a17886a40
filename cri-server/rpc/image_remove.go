package rpc

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// RemoveImage forgets an image with all its tags. Again, or for an image that isn't here, it succeeds.
func (s *imageService) RemoveImage(ctx context.Context, req *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error) {
	var d decoder
	ref := d.required("image.image", req.GetImage().GetImage(), maxImage)
	if d.err != nil {
		return nil, d.err
	}
	if err := absentIsDone(s.images.Remove(ctx, ref)); err != nil {
		return nil, err
	}
	return &runtimeapi.RemoveImageResponse{}, nil
}
