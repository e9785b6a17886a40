package nft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
)

// Obstacle describes what keeps packets of a link from being forwarded, and what to do, "" for nothing: chains of other tables that drop what
// they do not accept. A packet must pass all tables, so what is accepted here can't change that, and those chains belong to others.
// Tables of iptables-legacy can't be seen.
func (f *Firewall) Obstacle(link string) (string, error) {
	if err := f.connect(); err != nil {
		return "", err
	}
	chains, err := f.conn.ListChains()
	if err != nil {
		return "", fmt.Errorf("list chains of nftables: %w", err)
	}
	var names, commands []string
	for _, c := range chains {
		family, command := families(c.Table.Family)
		if family == "" || c.Table.Name == tableName || !dropsForwarded(c) {
			continue
		}
		names = append(names, fmt.Sprintf("%s %s %s", family, c.Table.Name, c.Name))
		if command == "" || c.Table.Name != "filter" || c.Name != "FORWARD" {
			continue
		}
		chain := c.Name
		if slices.ContainsFunc(chains, func(o *nftables.Chain) bool {
			return o.Name == userChain && o.Table.Name == c.Table.Name && o.Table.Family == c.Table.Family
		}) {
			chain = userChain
		}
		commands = append(commands, fmt.Sprintf("%s -I %s -i %s -j ACCEPT; %[1]s -I %[2]s -o %[3]s -j ACCEPT", command, chain, link))
	}
	if len(names) == 0 {
		return "", nil
	}
	text := fmt.Sprintf("%s: what they do not accept is dropped, packets from and to %s too", strings.Join(names, ", "), link)
	if len(commands) > 0 {
		text += "; accept them: " + strings.Join(commands, "; ")
	}
	return text, nil
}

// userChain is the one that Docker leaves to the administrator, before its own rules.
const userChain = "DOCKER-USER"

func dropsForwarded(c *nftables.Chain) bool {
	return c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookForward && c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop
}

// families names those whose hook forward is for packets between networks, and the program that writes the tables of iptables in them.
func families(f nftables.TableFamily) (name, command string) {
	switch f {
	case nftables.TableFamilyIPv4:
		return "ip", "iptables"
	case nftables.TableFamilyIPv6:
		return "ip6", "ip6tables"
	case nftables.TableFamilyINet:
		return "inet", ""
	}
	return "", ""
}
