package main

import (
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// What berth notes about its containers. The second group is how Kubernetes' tools show names.
const (
	labelName       = "berth.name"  // also says that the pod is the container's own
	annotationPorts = "berth.ports" // as ps shows them

	// annotationRemove makes berthd remove the pod once its container has ended and no client waits for it (package
	// autoremove).
	annotationRemove = "berth.remove"

	labelPodName       = "io.kubernetes.pod.name"
	labelPodNamespace  = "io.kubernetes.pod.namespace"
	labelPodUID        = "io.kubernetes.pod.uid"
	labelContainerName = "io.kubernetes.container.name"
)

// reasonOOM is what CRI gives as the reason of an end for lack of memory.
const reasonOOM = "OOMKilled"

// namespace is where berth's pods are, for those who know only Kubernetes' terms.
const namespace = "berth"

// nameOf is what a person calls a container: the name of berth run, or POD/CONTAINER.
func nameOf(labels map[string]string, metadata *cri.ContainerMetadata) string {
	if name := labels[labelName]; name != "" {
		return name
	}
	if pod := labels[labelPodName]; pod != "" {
		return pod + "/" + metadata.GetName()
	}
	return metadata.GetName()
}

// isOwn says whether berth run made the container, and a pod just for it.
func isOwn(labels map[string]string) bool { return labels[labelName] != "" }
