package stream

import (
	"crypto/rand"
	"sync"
	"time"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// Limits of addresses that were handed out and not used yet, as other runtimes have them.
const (
	tokenLife = time.Minute
	maxTokens = 1000
)

// request is what an address stands for.
type request struct {
	verb                       string // exec, attach or portforward
	id                         string
	cmd                        []string
	tty, stdin, stdout, stderr bool
	ports                      []int32
}

// tokens are the requests whose clients have yet to come, by the secret part of their addresses.
type tokens struct {
	mu      sync.Mutex
	pending map[string]pending
}

type pending struct {
	request request
	expires time.Time
}

func newTokens() *tokens { return &tokens{pending: map[string]pending{}} }

// insert keeps r for tokenLife. Whoever knows the token may run the command: it cannot be guessed.
func (t *tokens) insert(r request, now time.Time) (string, error) {
	token := rand.Text()
	t.mu.Lock()
	defer t.mu.Unlock()
	for old, p := range t.pending {
		if now.After(p.expires) {
			delete(t.pending, old)
		}
	}
	if len(t.pending) >= maxTokens {
		return "", errdefs.New(errdefs.ErrExhausted, "%d streams were asked for and not fetched; try again in a minute", maxTokens)
	}
	t.pending[token] = pending{request: r, expires: now.Add(tokenLife)}
	return token, nil
}

// consume returns a request once.
func (t *tokens) consume(verb, token string, now time.Time) (request, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.pending[token]
	if !ok || p.request.verb != verb || now.After(p.expires) {
		return request{}, false
	}
	delete(t.pending, token)
	return p.request, true
}
