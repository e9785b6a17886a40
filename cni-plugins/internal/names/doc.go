// Package names keeps, for each network, one file of hosts(5) with the addresses and names of the attachments that asked for names, for
// a DNS server of the host to serve as it is: hostsdir and addn-hosts of dnsmasq, the hosts plugin of CoreDNS.
//
// It owns those files and nothing else. A line names its owner in a comment, so there is no other record. Changes read the file and replace
// it by a rename under a lock on the folder; readers see the old file or the new one. A network without names has no file, and costs
// one attempt to open it.
package names
