package prepare

import (
	"os"

	"github.com/berth-runtime/berth/internal/cleanup"
	"github.com/berth-runtime/berth/internal/sys"
	"github.com/berth-runtime/berth/runtime/cgroup"
	"github.com/berth-runtime/berth/runtime/plan"
	"github.com/berth-runtime/berth/runtime/resctrl"
)

// Join opens what a process joins a group, and a share of the processor, which may be nil, with: a folder to be born in,
// nil if there is none, and files to write to. One that has something to do before it joins is late and not born there.
func Join(group *cgroup.Group, share *resctrl.Group, late bool) (dir *os.File, tasks []*os.File, err error) {
	cu := cleanup.Make(&err)
	defer cu.Clean()
	if dir, err = group.Dir(); err != nil {
		return nil, nil, err
	}
	if dir != nil {
		cu.Add(dir.Close)
	}
	files := &plan.Files{}
	cu.Add(files.Close)
	if files.Tasks, err = group.JoinFiles(); err != nil {
		return nil, nil, err
	}
	notBorn := late && dir != nil && len(files.Tasks) == 0
	if notBorn {
		procs, err := sys.Openat2(dir, "cgroup.procs", os.O_WRONLY, 0, sys.ResolveBeneath)
		if err != nil {
			return nil, nil, err
		}
		files.Tasks = []*os.File{procs}
	}
	shared, err := share.JoinFiles()
	if err != nil {
		return nil, nil, err
	}
	cu.Release()
	if notBorn {
		err, dir = dir.Close(), nil
	}
	return dir, append(files.Tasks, shared...), err
}
