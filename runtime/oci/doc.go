// Package oci is the life cycle of containers as the OCI runtime command line has it (runtime-spec, runtime.md): create,
// start, state, kill, delete and what runc adds to them. Each call is one short process's work: there is no daemon and no
// keeper. The first process of a container is forked by runtime/fork and stays the child of whoever called, or of its
// sub-reaper; between create and start it waits, its root set up and its privileges dropped, for a byte on a FIFO.
//
// It owns one folder per container below Config.Root: the record (state.json), the configuration as it was at the time of
// create, and two FIFOs. The record is written before the first effect and removed after the last is undone, so that what
// a killed create leaves can be deleted. What the kernel knows is not recorded: a container is created while its process
// has the FIFO open, paused if its control group is frozen, stopped when its process (the number with its start time) is
// gone.
//
// Locks: create, start, pause, resume, update and delete hold flock(2) on the container's folder; state, kill and exec hold
// none, so that a hook that hangs can be seen and killed.
package oci
