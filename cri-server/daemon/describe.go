package daemon

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/berth-runtime/berth/cri-server/config"
	"github.com/berth-runtime/berth/cri-server/network"
	"github.com/berth-runtime/berth/cri-server/rpc"
)

// settings are the part of the configuration that a verbose Status shows, under names that tools know from other
// runtimes (critest looks for stateDir).
type settings struct {
	RootDir       string   `json:"rootDir"`
	StateDir      string   `json:"stateDir"`
	Listen        string   `json:"listen"`
	CgroupParent  string   `json:"cgroupParent"`
	CNIConfDir    string   `json:"cniConfDir"`
	CNIBinDirs    []string `json:"cniBinDirs"`
	RegistryCerts string   `json:"registryCertsDir"`
	StreamAddress string   `json:"streamAddress"`
}

// describe returns what a verbose Status shows beside the conditions.
func describe(c config.Config, networks *network.Network) rpc.Info {
	return func(ctx context.Context) (map[string]string, error) {
		documents := map[string]any{
			"config": settings{
				RootDir: c.Root, StateDir: c.State, Listen: c.Listen, CgroupParent: c.Cgroup.Parent, CNIConfDir: c.CNI.ConfDir,
				CNIBinDirs: c.CNI.BinDirs, RegistryCerts: c.Registry.CertsDir, StreamAddress: c.Stream.Address,
			},
			"network": networks.Describe(ctx),
		}
		info := map[string]string{}
		for key, document := range documents {
			data, err := json.Marshal(document)
			if err != nil {
				return nil, fmt.Errorf("render %s: %w", key, err)
			}
			info[key] = string(data)
		}
		return info, nil
	}
}
