package network

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/berth-runtime/berth/internal/errdefs"
)

const (
	ingressAnnotation = "kubernetes.io/ingress-bandwidth"
	egressAnnotation  = "kubernetes.io/egress-bandwidth"
)

// bandwidthArg is the bandwidth capability: rates in bit/s, bursts in bit. Ingress is towards the pod.
type bandwidthArg struct {
	IngressRate  uint64 `json:"ingressRate,omitempty"`
	IngressBurst uint64 `json:"ingressBurst,omitempty"`
	EgressRate   uint64 `json:"egressRate,omitempty"`
	EgressBurst  uint64 `json:"egressBurst,omitempty"`
}

// parseBandwidth reads the two annotations of Kubernetes; nil if there is none.
func parseBandwidth(annotations map[string]string) (*bandwidthArg, error) {
	in, err := parseRate(annotations, ingressAnnotation)
	if err != nil {
		return nil, err
	}
	out, err := parseRate(annotations, egressAnnotation)
	if err != nil || in == 0 && out == 0 {
		return nil, err
	}
	return &bandwidthArg{IngressRate: in, IngressBurst: burst(in), EgressRate: out, EgressBurst: burst(out)}, nil
}

// burst is what a rate gives in 100 ms, and no less than a few full frames with offloads: a smaller bucket makes TCP miss the rate.
func burst(rate uint64) uint64 {
	if rate == 0 {
		return 0
	}
	const least, most = 8 * 256 << 10, 8 * 1 << 30
	return min(max(rate/10, least), most)
}

// parseRate reads one annotation in bit/s, within the bounds that the kubelet keeps (1k to 1P); 0 if there is none.
func parseRate(annotations map[string]string, key string) (uint64, error) {
	text, ok := annotations[key]
	if !ok {
		return 0, nil
	}
	value, err := parseQuantity(text)
	if err != nil {
		return 0, errdefs.Invalid("annotation %s: %w", key, err)
	}
	if value < 1e3 || value > 1e15 {
		return 0, errdefs.Invalid("annotation %s: %q is not between 1k and 1P bit/s", key, text)
	}
	return value, nil
}

// parseQuantity reads a quantity of Kubernetes as a whole number, rounded up: "10M", "1.5Gi", "1e6". Negative ones are refused.
func parseQuantity(text string) (uint64, error) {
	const textMax = 64
	if len(text) > textMax {
		return 0, fmt.Errorf("%.20q… is longer than %d characters", text, textMax)
	}
	end := strings.IndexFunc(text, func(r rune) bool { return r != '.' && r != '+' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(text)
	}
	number, suffix := text[:end], text[end:]
	factor, ok := quantityFactor(suffix)
	if number == "" || strings.Count(number, ".") > 1 || strings.LastIndexByte(number, '+') > 0 || !ok {
		return 0, fmt.Errorf("%q is not a quantity such as 10M", text)
	}
	value, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, fmt.Errorf("%q is not a quantity such as 10M", text)
	}
	value.Mul(value, factor)
	whole, rest := new(big.Int).QuoRem(value.Num(), value.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		whole.Add(whole, big.NewInt(1))
	}
	if !whole.IsUint64() {
		return 0, fmt.Errorf("%q is too large", text)
	}
	return whole.Uint64(), nil
}

// quantityFactor is the factor of a suffix: decimal, binary, or a decimal exponent of at most three digits.
func quantityFactor(suffix string) (*big.Rat, bool) {
	power := func(base, exponent int64) *big.Rat {
		n := new(big.Int).Exp(big.NewInt(base), big.NewInt(max(exponent, -exponent)), nil)
		if exponent < 0 {
			return new(big.Rat).SetFrac(big.NewInt(1), n)
		}
		return new(big.Rat).SetInt(n)
	}
	for i, s := range []string{"n", "u", "m", "", "k", "M", "G", "T", "P", "E"} {
		if suffix == s {
			return power(10, int64(3*(i-3))), true
		}
	}
	for i, s := range []string{"Ki", "Mi", "Gi", "Ti", "Pi", "Ei"} {
		if suffix == s {
			return power(1024, int64(i+1)), true
		}
	}
	if suffix[0] != 'e' && suffix[0] != 'E' {
		return nil, false
	}
	digits := strings.TrimLeft(suffix[1:], "+-")
	if len(digits) == 0 || len(digits) > 2 || len(suffix)-len(digits) > 2 {
		return nil, false
	}
	var exponent int64
	for _, d := range digits {
		if d < '0' || d > '9' {
			return nil, false
		}
		exponent = exponent*10 + int64(d-'0')
	}
	if suffix[1] == '-' {
		exponent = -exponent
	}
	return power(10, exponent), true
}
