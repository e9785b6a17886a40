package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/berth-runtime/berth/imagestore"
	"github.com/berth-runtime/berth/internal/errdefs"
)

// ImageStatus finds an image by ID, tag or digest. One that isn't here is no error but a nil image.
func (s *imageService) ImageStatus(ctx context.Context, req *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	var d decoder
	ref := d.required("image.image", req.GetImage().GetImage(), maxImage)
	if d.err != nil {
		return nil, d.err
	}
	resp := &runtimeapi.ImageStatusResponse{}
	if req.GetVerbose() {
		resp.Info = map[string]string{}
		if err := s.addProgress(resp.Info, ref); err != nil {
			return nil, err
		}
	}
	image, err := s.images.Resolve(ctx, ref)
	if errors.Is(err, errdefs.ErrNotFound) {
		return resp, nil
	}
	if err != nil {
		return nil, err
	}
	resp.Image = encodeImage(image)
	if req.GetVerbose() {
		if err := addJSON(resp.Info, "info", map[string]any{"imageSpec": image.Config, "layers": image.Layers}); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

// PullProgress is the JSON under [PullProgressKey] in the verbose ImageStatus of an image that is being pulled. CRI has
// no progress of its own.
type PullProgress struct {
	Stage string `json:"stage"`
	Done  int64  `json:"done"`  // bytes of compressed layers that are here
	Total int64  `json:"total"` // of them all; 0 until the manifest is known
}

// PullProgressKey is the key of [PullProgress].
const PullProgressKey = "pull"

func (s *imageService) addProgress(info map[string]string, ref string) error {
	now, ok := s.pulls.progress(ref)
	if !ok {
		return nil
	}
	return addJSON(info, PullProgressKey, encodeProgress(now))
}

func encodeProgress(p imagestore.Progress) PullProgress {
	return PullProgress{Stage: p.Stage, Done: p.Done, Total: p.Total}
}

func addJSON(info map[string]string, key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("render %s: %w", key, err)
	}
	info[key] = string(data)
	return nil
}
