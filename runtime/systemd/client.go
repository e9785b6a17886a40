package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// The sockets: the manager's own, which root may use without a message bus, and the bus.
const (
	PrivateSocket = "/run/systemd/private"
	BusSocket     = "/run/dbus/system_bus_socket"
)

const (
	busName     = "org.freedesktop.systemd1"
	managerPath = dbus.ObjectPath("/org/freedesktop/systemd1")
	managerName = busName + ".Manager"
)

// Property is one setting of a unit (systemd.resource-control(5), by its name on D-Bus).
type Property struct {
	Name  string
	Value any // of the type that D-Bus has for it: uint64, bool, string, []byte …
	Since int // the first systemd that knows it; an older one is not told
}

// Client speaks to the manager behind one socket.
type Client struct {
	socket string
	bus    bool
}

// Booted tells whether systemd manages this host, by the test of sd_booted(3).
func Booted() bool {
	_, err := os.Lstat("/run/systemd/system")
	return err == nil
}

// New returns a client of the host's manager. ErrNotSupported where there is none to speak to.
func New() (*Client, error) {
	for _, c := range []*Client{{socket: PrivateSocket}, {socket: BusSocket, bus: true}} {
		if _, err := os.Stat(c.socket); err == nil {
			return c, nil
		}
	}
	return nil, errdefs.NotSupported("systemd is not there: neither %s nor %s exists; use the cgroupfs driver", PrivateSocket, BusSocket)
}

// At returns a client of the manager behind a socket that speaks for itself, as [PrivateSocket] does.
func At(socket string) *Client { return &Client{socket: socket} }

// session is one connection.
type session struct {
	conn    *dbus.Conn
	manager dbus.BusObject
	bus     bool
}

// with dials, calls f and hangs up.
func (c *Client) with(ctx context.Context, what string, f func(s session) error) error {
	err := c.call(ctx, f)
	if err != nil {
		return fmt.Errorf("%s: %w", what, kind(err))
	}
	return nil
}

func (c *Client) call(ctx context.Context, f func(s session) error) (err error) {
	conn, err := dbus.Dial("unix:path="+c.socket, dbus.WithContext(ctx))
	if err != nil {
		return errdefs.New(errdefs.ErrUnavailable, "connect to systemd at %s: %w", c.socket, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err != nil {
		return errdefs.New(errdefs.ErrUnavailable, "authenticate to systemd at %s: %w", c.socket, err)
	}
	if c.bus {
		if err := conn.Hello(); err != nil {
			return errdefs.New(errdefs.ErrUnavailable, "greet the message bus at %s: %w", c.socket, err)
		}
	}
	return f(session{conn: conn, manager: conn.Object(busName, managerPath), bus: c.bus})
}

// named tells whether err is the manager's of that name.
func named(err error, name string) bool {
	var e dbus.Error
	return errors.As(err, &e) && e.Name == busName+"."+name
}

// kind says what a caller can act on.
func kind(err error) error {
	var e dbus.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Name {
	case busName + ".NoSuchUnit":
		return errdefs.New(errdefs.ErrNotFound, "%w", err)
	case busName + ".UnitExists":
		return errdefs.New(errdefs.ErrExists, "%w", err)
	case "org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired":
		return errdefs.New(errdefs.ErrPermission, "%w", err)
	case "org.freedesktop.DBus.Error.InvalidArgs", "org.freedesktop.DBus.Error.PropertyReadOnly":
		return errdefs.New(errdefs.ErrInvalid, "%w", err)
	}
	return err
}

// version asks for the manager's version: "252.38-1~deb12u1" is 252.
func (s session) version(ctx context.Context) (int, error) {
	var v dbus.Variant
	call := s.manager.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, managerName, "Version")
	if err := call.Store(&v); err != nil {
		return 0, fmt.Errorf("ask for systemd's version: %w", err)
	}
	text, _ := v.Value().(string)
	n, ok := parseVersion(text)
	if !ok {
		return 0, errdefs.NotSupported("systemd's version %.50q is no number", text)
	}
	return n, nil
}

func parseVersion(s string) (int, bool) {
	s = strings.TrimPrefix(strings.TrimPrefix(s, `"`), "v")
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(s)
	}
	n, err := strconv.Atoi(s[:end])
	return n, err == nil
}

// known drops the properties that this systemd does not know, and spells the others as D-Bus's a(sv).
func (s session) known(ctx context.Context, props []Property) ([]variant, error) {
	version, err := s.version(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]variant, 0, len(props))
	for _, p := range props {
		if p.Since <= version {
			out = append(out, variant{p.Name, dbus.MakeVariant(p.Value)})
		}
	}
	return out, nil
}

// variant is D-Bus's (sv).
type variant struct {
	Name  string
	Value dbus.Variant
}
