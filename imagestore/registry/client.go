package registry

import (
	"sync"
	"sync/atomic"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/berth-runtime/berth/imagestore/hosts"
	"github.com/berth-runtime/berth/imagestore/reference"
)

// Config sets a client up. Zero durations and counts mean the defaults.
type Config struct {
	CertsDir string // see [hosts.Load]
	Timing   Timing
}

// Timing bounds waiting. It is a setting for the sake of tests and of slow links.
type Timing struct {
	Dial       time.Duration // 10 s: connecting, where hosts.toml says nothing
	Answer     time.Duration // 60 s: from request to response header; a caching proxy fetches in between
	Metadata   time.Duration // 90 s: one manifest or config, whole
	StallAfter time.Duration // 30 s: time in which StallBytes must arrive
	StallBytes int64         // 64 KiB
	Backoff    time.Duration // 200 ms: the first wait before a retry; doubles, with jitter
	MaxWait    time.Duration // 30 s: longest wait, also of a Retry-After that is obeyed
	Attempts   int           // 4: at one host, without progress between them
}

func (t Timing) withDefaults() Timing {
	orElse(&t.Dial, 10*time.Second)
	orElse(&t.Answer, time.Minute)
	orElse(&t.Metadata, 90*time.Second)
	orElse(&t.StallAfter, 30*time.Second)
	orElse(&t.StallBytes, 64<<10)
	orElse(&t.Backoff, 200*time.Millisecond)
	orElse(&t.MaxWait, 30*time.Second)
	orElse(&t.Attempts, 4)
	return t
}

func orElse[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Client remembers what it learned of hosts between pulls. It is for all of a store's pulls at once.
type Client struct {
	certsDir string
	timing   Timing

	mu sync.Mutex
	// notBefore is when a host that answered 429 may be asked again, for all pulls.
	notBefore map[string]time.Time
	// schemes are those that loopback registries turned out to speak.
	schemes map[string]string
}

// New makes a client.
func New(c Config) *Client {
	return &Client{
		certsDir: c.CertsDir, timing: c.Timing.withDefaults(),
		notBefore: map[string]time.Time{}, schemes: map[string]string{},
	}
}

// Session is one pull's view of one repository: its hosts in order, the login and the tokens. It may be used by many
// goroutines.
type Session struct {
	client    *Client
	ref       reference.Reference
	endpoints []*endpoint
	closed    atomic.Bool
}

// Session reads the registry's host configuration as it is now. It connects to nothing.
func (c *Client) Session(ref reference.Reference, a Auth) (*Session, error) {
	list, err := hosts.Load(c.certsDir, ref.Domain)
	if err != nil {
		return nil, err
	}
	s := &Session{client: c, ref: ref}
	for _, h := range list {
		cred, err := a.credential(ref.Domain, h)
		if err != nil {
			return nil, err
		}
		e := c.newEndpoint(h, ref.Repository, cred, a.secrets())
		if a != (Auth{}) && cred == auth.EmptyCredential {
			e.withheld = ref.Domain
		}
		s.endpoints = append(s.endpoints, e)
	}
	return s, nil
}

// Close ends connections that are idle, now or when the blobs being read end.
func (s *Session) Close() {
	s.closed.Store(true)
	for _, e := range s.endpoints {
		e.transport.close()
	}
}
