// Package netns makes, pins, opens and removes the namespaces of a pod.
//
// It owns the pin files: a pod's net, ipc and uts namespaces live as long as bind mounts of them on the files net, ipc
// and uts in one folder; so does its user namespace, which is made elsewhere and given to it with those that belong to
// it. No process is needed to keep them. It never configures a network beyond the loopback interface; that is the work of cri-server/network and the CNI plugins.
//
// # Mount propagation
//
// A pin is an ordinary bind mount, so in a folder with shared propagation it shows up in the peers and slaves of that
// folder's mount, and a mount namespace cloned while a pod runs copies its pins. Neither keeps a namespace alive: [Remove]
// unlinks the pin file, and since Linux 3.18 unlinking a file detaches the mounts on it in every other mount namespace.
// A private mount for the folder would cost every pod one more mount and gain nothing.
//
// # Threads
//
// Namespaces belong to threads. Create runs in a thread that ends with it; [Handle.Do] runs in a thread that either is
// back in its old namespace or ends. No other goroutine ever sees a changed thread. The package holds no locks and no
// state.
package netns
