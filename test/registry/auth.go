package registry

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
)

// Scheme is a way to authenticate.
type Scheme string

// The schemes; [Open] asks for nothing.
const (
	Open   Scheme = ""
	Basic  Scheme = "basic"
	Bearer Scheme = "bearer"
)

// tokenPath is where bearer tokens are had.
const tokenPath = "/token"

// Auth says who may pull. With Bearer and no user, anyone gets a token.
type Auth struct {
	Scheme         Scheme
	User, Password string
}

// allowed tells whether a request carries what the scheme asks for.
func (a Auth) allowed(r *http.Request) bool {
	switch a.Scheme {
	case Basic:
		return a.knows(r)
	case Bearer:
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		return ok && subtle.ConstantTimeCompare([]byte(token), []byte(a.token(pullScope(repositoryOf(r.URL.Path))))) == 1
	default:
		return true
	}
}

func (a Auth) knows(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	return ok && user == a.User && password == a.Password
}

// challenge answers 401 with the header that tells a client what to do.
func (a Auth) challenge(w http.ResponseWriter, base, repository string) {
	header := `Basic realm="berth test registry"`
	if a.Scheme == Bearer {
		header = fmt.Sprintf(`Bearer realm="%s%s",service="berth-test",scope="%s"`, base, tokenPath, pullScope(repository))
	}
	w.Header().Set("WWW-Authenticate", header)
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

// serveToken hands out a token for the scope that is asked for.
func (a Auth) serveToken(w http.ResponseWriter, r *http.Request) {
	if a.User != "" && !a.knows(r) {
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"token": a.token(r.URL.Query().Get("scope")), "expires_in": 300})
}

func pullScope(repository string) string { return "repository:" + repository + ":pull" }

// token derives the token of a scope, so that one for another repository does not fit.
func (a Auth) token(scope string) string {
	sum := sha256.Sum256([]byte(a.User + "\x00" + a.Password + "\x00" + scope))
	return hex.EncodeToString(sum[:])
}
