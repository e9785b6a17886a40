package rpc

import (
	"context"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ImageFsInfo tells what images, and what containers wrote over them, take of the disk.
func (s *imageService) ImageFsInfo(ctx context.Context, _ *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error) {
	info, err := s.images.FsInfo(ctx)
	if err != nil {
		return nil, err
	}
	at := time.Now().UnixNano()
	usage := func(bytes, inodes uint64) []*runtimeapi.FilesystemUsage {
		return []*runtimeapi.FilesystemUsage{{
			Timestamp:  at,
			FsId:       &runtimeapi.FilesystemIdentifier{Mountpoint: info.Path},
			UsedBytes:  &runtimeapi.UInt64Value{Value: bytes},
			InodesUsed: &runtimeapi.UInt64Value{Value: inodes},
		}}
	}
	return &runtimeapi.ImageFsInfoResponse{
		ImageFilesystems:     usage(info.Bytes, info.Inodes),
		ContainerFilesystems: usage(info.Snapshots.Bytes, info.Snapshots.Inodes),
	}, nil
}
