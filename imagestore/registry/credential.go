package registry

import (
	"encoding/base64"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/berth-runtime/berth/imagestore/hosts"
	"github.com/berth-runtime/berth/internal/errdefs"
)

const dockerHub = "docker.io"

// credential is what a host may be given: nothing, unless it is the registry that the credentials are for.
func (a Auth) credential(registry string, h hosts.Host) (auth.Credential, error) {
	if a.ServerAddress != "" {
		server := serverName(a.ServerAddress)
		if server != serverName(h.Addr) && (!h.Trusted || server != serverName(registry)) {
			return auth.EmptyCredential, nil
		}
	} else if !h.Trusted {
		return auth.EmptyCredential, nil
	}
	if a.RegistryToken != "" {
		return auth.Credential{AccessToken: a.RegistryToken}, nil
	}
	if a.IdentityToken != "" {
		return auth.Credential{RefreshToken: a.IdentityToken}, nil
	}
	user, password, err := a.login()
	return auth.Credential{Username: user, Password: password}, err
}

// login returns user and password from either of their two spellings.
func (a Auth) login() (user, password string, err error) {
	if a.Username != "" || a.Auth == "" {
		return a.Username, a.Password, nil
	}
	plain, err := base64.StdEncoding.DecodeString(a.Auth)
	if err != nil {
		return "", "", errdefs.Invalid("registry credentials: auth is not base64") // the cause would quote it
	}
	user, password, found := strings.Cut(strings.TrimRight(string(plain), "\x00"), ":")
	if !found {
		return "", "", errdefs.Invalid("registry credentials: auth is not base64 of user:password")
	}
	return user, password, nil
}

// serverName reduces a server address, often a URL, to a registry's name. Docker Hub has several.
func serverName(address string) string {
	if _, rest, found := strings.Cut(address, "://"); found {
		address = rest
	}
	address, _, _ = strings.Cut(address, "/")
	address = strings.ToLower(address)
	switch address {
	case "index.docker.io", "registry-1.docker.io":
		return dockerHub
	}
	return strings.TrimSuffix(address, ":443")
}

// secrets lists what no error may show.
func (a Auth) secrets() []string {
	list := []string{a.Password, a.Auth, a.IdentityToken, a.RegistryToken}
	if user, password, err := a.login(); err == nil && password != "" {
		list = append(list, password, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	}
	return list
}
