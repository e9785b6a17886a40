package spec

// Hostname returns what a pod's UTS namespace is called: the host's name in the host's network, else what the client
// asked for, else the start of the pod's ID.
func Hostname(podID string, p PodConfig, host string) string {
	switch {
	case p.Security.Namespaces.Network == NamespaceNode:
		return host
	case p.Hostname != "":
		return p.Hostname
	case len(podID) > 12:
		return podID[:12]
	}
	return podID
}
