// Package keeper is the process that outlives berthd: it starts the node's container processes, is their parent, serves their
// stdio, and remembers how they ended.
//
//	keeper.Run(ctx, keeper.Config{Socket: "/run/berth/keeper/socket", StateDir: "/run/berth/keeper", Logger: logger})
//
// It owns: the socket and the state folder (a lock, the journal, the shared cursors); every process from Start to Forget;
// what package stdio owns. It never decides what runs: programs come ready-made from berthd, over a socket that only root
// can use. It knows nothing of images, networks, cgroups, OCI or CRI.
//
// # Deaths
//
// A keeper that is killed takes nothing along: processes run on, their FIFOs stay open, and the next keeper on the same state
// folder reads the journal, opens the FIFOs and goes on. How a process ends while no keeper looks is learned through
// PIDFD_GET_INFO (Linux 6.15) from a pidfd that berthd kept or the new keeper opened, from the zombie if nobody has reaped it,
// or is not known: then the exit says so. A service manager that keeps files (FDSTORE, see kept.go) makes up for a berthd that died as well.
//
// # Forks
//
// Two processes without memory or files of their own ([fork.Servers]) clone for the keeper, from the first start on: a copy of the
// keeper would cost more than all else of a start. They end with it, and before an upgrade. While both are at work it forks by itself.
//
// # Upgrades
//
// A keeper becomes another program by execve when a client hands it one ([wire.TypeUpgrade]). It asks the program first, in a child,
// whether it can take over; then it stands still (see freeze.go), writes what is in its memory alone into a memory file, and
// keeps all its files open. It stays the same process: children are still its children, connections and attached clients go on
// without noticing, and whoever connects meanwhile waits in the socket's queue. Until the execve has succeeded it can go back to work, and
// does if anything fails. A program that says that it can take over and then can't read its state goes on as after a death.
//
// SIGTERM ends the keeper in the same way, after terminals' unfinished lines are written. It never ends a process.
//
// The keeper is not a child subreaper: orphans in a container's PID namespace go to that namespace's init whatever we
// are, and those of containers in the host's namespace to the host's init, which exists to reap them. A
// keeper that is one would have to wait for processes it knows nothing of.
//
// # Goroutines and locks
//
// One goroutine runs the poller, one per connection receives, one per connection sends events; requests have one each while
// they last. Each process's stdio has a lane (see package lane). server.mu guards the tables and the fields of
// processes; nothing blocks under it.
package keeper
