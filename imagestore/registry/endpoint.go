package registry

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/berth-runtime/berth/imagestore/hosts"
)

const userAgent = "berth"

// endpoint is one repository on one host, as one session sees it.
type endpoint struct {
	client    *Client
	host      hosts.Host
	repo      string
	transport *hostTransport
	auth      *auth.Client
	scrub     scrubber
	withheld  string // the registry that a login was given for, if this host doesn't get it

	distrusted atomic.Bool // it delivered wrong bytes in this session
}

func (c *Client) newEndpoint(h hosts.Host, repo string, cred auth.Credential, secrets []string) *endpoint {
	t := newTransport(h, c.timing)
	e := &endpoint{client: c, host: h, repo: repo, transport: t, scrub: newScrubber(secrets, h.Header, h.Proxy)}
	e.auth = &auth.Client{
		Client:   &http.Client{Transport: t, CheckRedirect: checkRedirect},
		Header:   http.Header{"User-Agent": {userAgent}},
		Cache:    auth.NewSingleContextCache(), // of this session only: tokens of two logins must not meet
		ClientID: userAgent,
		Credential: func(context.Context, string) (auth.Credential, error) {
			return cred, nil
		},
	}
	return e
}

func (e *endpoint) String() string { return e.host.String() }

// answer is a welcome response. Whoever gets it closes the body.
type answer struct {
	status int
	header http.Header
	length int64 // of the body, -1 if unknown
	body   io.ReadCloser
}

// do sends one request below the repository, e.g. "manifests/latest", and returns the answer if its status is among the
// accepted. Any error is a *failure or the context's.
func (e *endpoint) do(ctx context.Context, method, path string, header http.Header, accepted ...int) (*answer, error) {
	scheme, err := e.scheme(ctx)
	if err != nil {
		return nil, err
	}
	u := scheme + "://" + e.host.Addr + e.host.Path + "/" + e.repo + "/" + path
	if e.host.Namespace != "" {
		u += "?ns=" + url.QueryEscape(e.host.Namespace)
	}
	ctx = auth.WithScopes(ctx, auth.ScopeRepository(e.repo, auth.ActionPull))
	req, err := http.NewRequestWithContext(ctx, method, u, nil)
	if err != nil {
		return nil, e.scrub.broken(ctx, err)
	}
	maps.Copy(req.Header, header)
	resp, err := e.auth.Do(req)
	if err != nil {
		e.forgetScheme(err)
		return nil, e.scrub.broken(ctx, err)
	}
	if slices.Contains(accepted, resp.StatusCode) {
		return &answer{status: resp.StatusCode, header: resp.Header, length: resp.ContentLength, body: resp.Body}, nil
	}
	f := e.scrub.refused(resp)
	if e.withheld != "" && resp.StatusCode == http.StatusUnauthorized {
		f.text += " (the login for " + e.withheld + " isn't sent to this host; its own can be set as a header in hosts.toml)"
	}
	e.client.notedWait(e.host.Addr, f)
	return nil, f
}

// scheme finds out, once, whether a loopback registry speaks TLS.
func (e *endpoint) scheme(ctx context.Context) (string, error) {
	if e.host.Scheme != "" {
		return e.host.Scheme, nil
	}
	if known := e.client.knownScheme(e.host.Addr); known != "" {
		return known, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+e.host.Addr+e.host.Path+"/", nil)
	if err != nil {
		return "", e.scrub.broken(ctx, err)
	}
	resp, err := e.transport.own.RoundTrip(req)
	scheme := "https"
	if err == nil {
		err = resp.Body.Close()
	}
	switch {
	case err == nil:
	case isTLS(err), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		scheme = "http" // whatever this is, it doesn't know TLS
	default:
		return "", e.scrub.broken(ctx, err)
	}
	e.client.learnScheme(e.host.Addr, scheme)
	return scheme, nil
}

// forgetScheme makes the next request find out again: the port may have a new owner.
func (e *endpoint) forgetScheme(err error) {
	if e.host.Scheme == "" && err != nil {
		e.client.learnScheme(e.host.Addr, "")
	}
}
