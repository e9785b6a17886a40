// Package autoremove looks after the pods of `berth run` when their containers have ended: one with [Annotation] is
// removed, any other is stopped, so that its address and ports are free. It also keeps their logs small, which a kubelet
// does for its own.
//
// Such a pod is known by its log folder, which lies directly below the one that is given to [Run]: a kubelet chooses the
// folders of its pods itself, while it passes on what a pod's author writes into annotations and labels.
//
// A client in the foreground still wants to know how its container has ended. It has the FIFO [HoldName] in the log folder
// open for as long as it lives, however it dies; the pod is removed when nobody has.
//
// It owns the wish, and the log folders below the one that it is given; pods belong to package pod. It looks at states, not
// at events alone: an event only makes it look, and at start it looks at everything, so an end that happened while berthd
// was away is seen too. Each pod is looked after by a goroutine of its own, so that one whose network hangs holds up no other.
package autoremove
