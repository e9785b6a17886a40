package config

import (
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Duration is written like "1m30s" (time.ParseDuration).
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return errdefs.Invalid("%.50q is no time like \"1m30s\"", text)
	}
	*d = Duration(parsed)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String implements fmt.Stringer.
func (d Duration) String() string { return time.Duration(d).String() }

// checkDuration refuses what is not between least and most.
func checkDuration(key string, d Duration, least, most time.Duration) error {
	if time.Duration(d) < least || time.Duration(d) > most {
		return errdefs.Invalid("%s: %s is not between %s and %s", key, d, least, most)
	}
	return nil
}
