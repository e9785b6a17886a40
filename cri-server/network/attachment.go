package network

import (
	"encoding/json"
	"net/netip"
)

// IfName is the name of a pod's interface inside the pod.
const IfName = "eth0"

// Attachment says which pod to connect and how.
type Attachment struct {
	PodID, Name, Namespace, UID string

	Netns        string            // path of the pod's network namespace; may be gone or "" at Teardown
	Ports        []PortMapping     // to publish
	DNS          *DNS              // nil: the host's
	Annotations  map[string]string // kubernetes.io/{ingress,egress}-bandwidth are read
	CgroupParent string            // the pod's cgroup, "" = unknown
}

// PortMapping publishes a port of the pod on the node. HostPort 0 publishes nothing.
type PortMapping struct {
	Protocol                string // tcp, udp or sctp, in any case; "" = tcp
	HostPort, ContainerPort int32
	HostIP                  string // "" = all addresses of the node
}

// DNS is the content of the pod's resolv.conf.
type DNS struct {
	Servers, Searches, Options []string
}

// Result is what a Setup gave the pod.
type Result struct {
	IPs []netip.Addr    // primary first
	Raw json.RawMessage // the chain's result in the CNI version of the configuration
}
