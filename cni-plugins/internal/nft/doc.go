// Package nft publishes ports, masquerades and keeps pods of different links apart, through one nftables table of the host's network
// namespace: inet berth.
//
// It owns that table and nothing else. The rules never change: everything that depends on networks and pods is an element of a map
// or set, so a packet costs the same with one published port or a thousand:
//
//	map ports4, ports6   protocol . host address . host port  →  pod address . pod port
//	set self4, self6     pod address . pod address, of pods that publish ports: they may reach themselves through the node
//	set masq4, masq6     link . subnet: what comes from there to the outside is masqueraded
//	set local            link . address of lo . number of the owner: who wants 127.0.0.1 or ::1 to lead to the link; no rule looks at it
//	set links            link . link, of the links that lead to pods
//	set isolated         the same, of those that the node does not route between
//	set walled4/6        pod address . link, of pods that other walled links can't reach
//	set alone4/6         the same, of those that their own link can't reach either
//	set walls            link . link, of links with walled pods
//
//	set internal         link . link, of links that the node routes nothing to or from
//	set private          the same, of those that what came by them does not go back by
//
//	map when4, when6     protocol . host port . link . source . host address, as ranges  →  pod address . pod port
//	set hide4, hide6     pod address, of pods whose published ports see the node as the client
//	set closed           link . link, of links that are reached from elsewhere at published ports alone
//
// The sets of walls and their chain are there if somebody asked for walls, internal, private and chain border, or the last three and the chains
// when_in, when_out, hide and close, if somebody asked for those, and chain isolate as soon as two links are isolated: others do not pay for them with
// each packet (ADR 12). Elements of ports, self, local, when, hide, walled and alone carry their owner in their comment: network, container,
// interface. So DEL and GC need no files and no namespaces, and a second pod that asks for a published port gets an error that names the
// first one. Elements of the others belong to a link, as long as it has pods: a pod without published ports and walls changes nothing here.
//
// # What the rules do
//
// Port maps work from outside, from pods and from the node itself, 127.0.0.1 included. That last one needs route_localnet on the link to the
// pods, which alone would let pods reach what listens on the node's 127.0.0.1 (CVE-2020-8558), and neighbours of the node could reach
// ports that are published at 127.0.0.1 only, because the destination is changed before the kernel would call it impossible. Chains
// guard_nat and guard_in drop both (guard.go), and route_localnet is taken back with the last port behind the link that needs it, before the
// guard goes. It is set to 2, which the kernel takes like 1: so nobody has to write down that it was 0, and what others have set stays. IPv6 has no route_localnet: there a route makes ::1 local to the link
// (see localnet.go), and no guard is needed; only ports that are published at ::1 itself are reached there.
// Traffic from a pod to others that are masqueraded too keeps its source address. Chains isolate and border drop what crosses between links that are to
// be apart, chain walls what crosses from one wall to another or reaches an isolated pod from its own link. Nothing that another table drops can be
// accepted here.
//
// # Lock and cost
//
// A change reads the table, decides, and writes one transaction. flock on the namespace's own file in /proc serialises that among all
// processes in the namespace; it needs no path, and the kernel drops it with the process. It is never held while something else is
// waited for. After a transaction that deletes, closing a netfilter socket would wait for an RCU grace period, 6 ms and more, since the
// kernel flushes its list of things to free. So sockets are left to the kernel to close (close.go).
package nft
