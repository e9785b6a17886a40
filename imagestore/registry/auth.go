package registry

// Auth is what CRI's AuthConfig carries: at most one way to log in to the registry that an image's name says.
// The zero value is anonymous.
type Auth struct {
	Username, Password string
	Auth               string // base64 of "username:password"; used when Username is empty
	ServerAddress      string // if set, the credentials are for this host only
	IdentityToken      string // OAuth2 refresh token, exchanged for an access token
	RegistryToken      string // bearer token sent to the registry as it is
}
