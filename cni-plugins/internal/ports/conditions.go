package ports

import (
	"bytes"
	"net/netip"
	"strings"

	"github.com/berth-runtime/berth/cni-plugins/internal/nft"
	"github.com/berth-runtime/berth/internal/errdefs"
)

const conditionsMax = 64 // words

// condition is one test of a packet, or of its opposite.
type condition struct {
	kind  string // "source", "destination" or "link"
	value string
	not   bool
}

// ParseConditions reads what must hold for a packet of one family to be taken to published ports, in the words of iptables (-s, -d and -i, each
// with ! before it) or of nft (ip saddr, ip daddr and iifname, each with != behind it). All of them must hold. It returns what is then
// taken, in pieces that do not overlap; nil for no condition. key is for messages.
func ParseConditions(key string, words []string, is4 bool) ([]nft.Match, error) {
	words = strings.Fields(strings.Join(words, " "))
	if len(words) > conditionsMax {
		return nil, errdefs.Invalid("%s: %d words, at most %d are taken", key, len(words), conditionsMax)
	}
	if len(words) == 0 {
		return nil, nil
	}
	list := []nft.Match{nft.MatchAll(is4)}
	seen := map[string]bool{}
	for len(words) > 0 {
		c, rest, err := nextCondition(key, words, is4)
		if err != nil {
			return nil, err
		}
		if seen[c.kind] {
			return nil, errdefs.Invalid("%s: the %s is given twice", key, c.kind)
		}
		seen[c.kind], words = true, rest
		if list, err = c.narrow(key, list, is4); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// nextCondition takes one condition off the words.
func nextCondition(key string, words []string, is4 bool) (condition, []string, error) {
	c, ip := condition{}, "ip6"
	if is4 {
		ip = "ip"
	}
	at := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	n := 0
	if c.not = at(0) == "!"; c.not {
		n = 1
	}
	nft := false
	switch at(n) {
	case "-s", "--source", "--src":
		c.kind = "source"
	case "-d", "--destination", "--dst":
		c.kind = "destination"
	case "-i", "--in-interface":
		c.kind = "link"
	case "iifname":
		c.kind, nft = "link", true
	case ip:
		c.kind, nft = map[string]string{"saddr": "source", "daddr": "destination"}[at(n+1)], true
		n++
	}
	n++
	if nft && at(n) == "!=" {
		c.not = true
		n++
	}
	c.value = strings.Trim(at(n), `"`)
	if c.kind == "" || nft && at(0) == "!" || c.value == "" {
		return condition{}, nil, errdefs.Invalid("%s: %.60q is not understood: the conditions are -s, -d and -i of iptables, with ! before them, "+
			"and %s saddr, %s daddr and iifname of nft, with != behind them", key, strings.Join(words, " "), ip, ip)
	}
	return c, words[n+1:], nil
}

// narrow keeps of each match what the condition leaves, in one piece or two.
func (c condition) narrow(key string, list []nft.Match, is4 bool) ([]nft.Match, error) {
	var out []nft.Match
	if c.kind == "link" {
		ranges, err := c.links()
		if err != nil {
			return nil, errdefs.Invalid("%s: %w", key, err)
		}
		for _, m := range list {
			for _, r := range ranges {
				m.Links = r
				out = append(out, m)
			}
		}
		return out, nil
	}
	ranges, err := c.addrs(is4)
	if err != nil {
		return nil, errdefs.Invalid("%s: %s: %w", key, c.kind, err)
	}
	for _, m := range list {
		for _, r := range ranges {
			if c.kind == "source" {
				m.From = r
			} else {
				m.To = r
			}
			out = append(out, m)
		}
	}
	return out, nil
}

// addrs are the ranges of a prefix, or of all but it.
func (c condition) addrs(is4 bool) ([][2]netip.Addr, error) {
	p, err := netip.ParsePrefix(c.value)
	if err != nil {
		a, addrErr := netip.ParseAddr(c.value)
		if addrErr != nil || a.Zone() != "" {
			return nil, errdefs.Invalid("%.60q is neither an address nor one with the length of a prefix", c.value)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4() != is4 {
		return nil, errdefs.Invalid("%s is of the other family", p)
	}
	first, last := p.Masked().Addr(), lastOf(p)
	all := nft.MatchAll(is4).From
	if !c.not {
		return [][2]netip.Addr{{first, last}}, nil
	}
	var out [][2]netip.Addr
	if first != all[0] {
		out = append(out, [2]netip.Addr{all[0], first.Prev()})
	}
	if last != all[1] {
		out = append(out, [2]netip.Addr{last.Next(), all[1]})
	}
	if out == nil {
		return nil, errdefs.Invalid("nothing is outside of %s", p)
	}
	return out, nil
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// links are the ranges of a link's name, of all that begin with what is before a +, or of all others.
func (c condition) links() ([][2]nft.LinkName, error) {
	name, wild := strings.CutSuffix(c.value, "+")
	if !wild {
		name, wild = strings.CutSuffix(c.value, "*")
	}
	var first, last nft.LinkName
	if len(name) >= len(first) || name == "" || strings.ContainsAny(name, "/+*") {
		return nil, errdefs.Invalid("link %.60q is no name of a link", c.value)
	}
	copy(first[:], name)
	last = first
	if wild {
		copy(last[len(name):], bytes.Repeat([]byte{0xff}, len(last)))
	}
	if !c.not {
		return [][2]nft.LinkName{{first, last}}, nil
	}
	out := [][2]nft.LinkName{{nft.LinkName{}, step(first, 0xff)}}
	if after := step(last, 1); after != (nft.LinkName{}) {
		out = append(out, [2]nft.LinkName{after, nft.MatchAll(true).Links[1]})
	}
	return out, nil
}

// step is the name one up (1) or down (0xff) from n, as numbers of 16 bytes.
func step(n nft.LinkName, by byte) nft.LinkName {
	for i := len(n) - 1; i >= 0; i-- {
		n[i] += by
		if by == 1 && n[i] != 0 || by != 1 && n[i] != 0xff {
			break
		}
	}
	return n
}

// Restrict narrows ports down to what the conditions of their family leave.
func Restrict(plan []nft.Port, v4, v6 []nft.Match) ([]nft.Port, error) {
	var out []nft.Port
	for _, p := range plan {
		matches := v6
		if p.Host.Addr().Is4() {
			matches = v4
		}
		if matches == nil {
			out = append(out, p)
			continue
		}
		before := len(out)
		for _, m := range matches {
			if host := p.Host.Addr(); host.IsUnspecified() || !host.Less(m.To[0]) && !m.To[1].Less(host) {
				p.Match = m
				out = append(out, p)
			}
		}
		if len(out) == before {
			return nil, errdefs.Invalid("host port %s: the conditions leave no packet to it", p)
		}
	}
	return out, nil
}
