package registry

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/berth-runtime/berth/internal/errdefs"
)

const maxErrorBody = 8 << 10

// errStalled ends a download that brings too little.
var errStalled = errors.New("the download stalled")

// failure is one host's refusal or breakdown, scrubbed and with a kind of errdefs.
type failure struct {
	kind       error
	text       string
	transient  bool          // the same host may do better in a moment
	retryAfter time.Duration // what the host asked for; 0 if nothing
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.kind }

func dataLoss(format string, a ...any) *failure {
	return &failure{kind: errdefs.ErrDataLoss, text: fmt.Sprintf(format, a...)}
}

// broken turns an error of the HTTP client into a failure, or into the context's error if that is over. The client's
// own time-outs also claim to be context.DeadlineExceeded; they must not pass for the caller's deadline.
func (s scrubber) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
			return &failure{kind: errdefs.ErrUnavailable, text: cause.Error(), transient: true}
		}
		return ctx.Err()
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	f := &failure{kind: errdefs.ErrUnavailable, transient: true, text: s.text(brief(err))}
	var response *errcode.ErrorResponse
	var name *net.DNSError
	switch {
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		f.kind, f.transient, f.text = errdefs.ErrUnauthenticated, false, "the registry asks for a login and none was given for it"
	case errors.As(err, &response):
		f.kind, f.transient = statusKind(response.StatusCode)
	case errors.As(err, &name) && name.IsNotFound, errors.Is(err, syscall.EHOSTUNREACH), isTLS(err), isBadRealm(err):
		f.transient = false
	}
	return f
}

// isTLS recognises a certificate that doesn't fit and a peer that doesn't speak TLS: trying again won't help.
func isTLS(err error) bool {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	return errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &alert) || errors.Is(err, http.ErrSchemeMismatch)
}

// isBadRealm recognises a token server that oras-go refuses to talk to, for which it has no type.
func isBadRealm(err error) bool { return strings.Contains(err.Error(), "bearer realm") }

// brief drops the outer "Get URL:", which the caller says better.
func brief(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok && u.Err != nil && u.Error() == err.Error() {
		return u.Err.Error()
	}
	return err.Error()
}

// refused turns an unwelcome status into a failure and closes the response.
func (s scrubber) refused(resp *http.Response) *failure {
	body, readErr := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	closeErr := resp.Body.Close()
	text := fmt.Sprintf("%d %s", resp.StatusCode, strings.ToLower(http.StatusText(resp.StatusCode)))
	if why := reasons(body); why != "" && errors.Join(readErr, closeErr) == nil {
		text += ": " + why
	}
	wait := retryAfter(resp.Header.Get("Retry-After"), time.Now())
	if wait > 0 {
		text += fmt.Sprintf(" (it asks to be left alone for %s)", wait.Round(time.Second))
	}
	f := &failure{text: s.text(text), retryAfter: wait}
	f.kind, f.transient = statusKind(resp.StatusCode)
	return f
}

// statusKind sorts HTTP statuses: the kind of error, and whether trying again may help.
func statusKind(code int) (kind error, transient bool) {
	switch code {
	case http.StatusUnauthorized:
		return errdefs.ErrUnauthenticated, false
	case http.StatusForbidden, http.StatusUnavailableForLegalReasons:
		return errdefs.ErrPermission, false
	case http.StatusNotFound, http.StatusGone:
		return errdefs.ErrNotFound, false
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return errdefs.ErrUnavailable, true
	}
	if code >= 500 {
		return errdefs.ErrUnavailable, false
	}
	return errdefs.ErrFailedPrecondition, false
}

// reasons reads the error body of the distribution specification, section "Error Codes".
func reasons(body []byte) string {
	var answer struct {
		Errors []struct{ Code, Message string } `json:"errors"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return "" // not of that form: nothing to tell
	}
	var list []string
	for _, e := range answer.Errors[:min(len(answer.Errors), 3)] {
		list = append(list, strings.Trim(e.Code+" "+e.Message, " "))
	}
	return strings.Join(list, "; ")
}

// retryAfter reads both forms of the header (RFC 9110, section 10.2.3).
func retryAfter(value string, now time.Time) time.Duration {
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
