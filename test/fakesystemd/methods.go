package fakesystemd

import (
	"fmt"
	"maps"
	"strings"

	"github.com/godbus/dbus/v5"
)

const managerName = "org.freedesktop.systemd1.Manager"

// handle answers one call, and returns the signal that follows it.
func (s *Server) handle(call *dbus.Message) (reply, signal *dbus.Message) {
	member, _ := call.Headers[dbus.FieldMember].Value().(string)
	unit := ""
	if len(call.Body) > 0 {
		unit, _ = call.Body[0].(string)
	}
	s.mu.Lock()
	s.log = append(s.log, member+" "+unit)
	s.mu.Unlock()
	switch member {
	case "Subscribe":
		return answer(call), nil
	case "Get":
		return answer(call, dbus.MakeVariant(s.Version)), nil
	case "StartTransientUnit":
		return s.start(call, unit)
	case "StopUnit":
		return s.stop(call, unit)
	case "SetUnitProperties":
		return s.set(call, unit), nil
	case "ResetFailedUnit":
		if s.Unit(unit) == nil {
			return refusal(call, "org.freedesktop.systemd1.NoSuchUnit"), nil
		}
		return answer(call), nil
	}
	return refusal(call, "org.freedesktop.DBus.Error.UnknownMethod"), nil
}

func (s *Server) start(call *dbus.Message, unit string) (reply, signal *dbus.Message) {
	props := properties(call.Body[2])
	if pids, _ := props["PIDs"].([]uint32); len(pids) == 0 && !strings.HasSuffix(unit, ".slice") {
		return refusal(call, "org.freedesktop.DBus.Error.InvalidArgs"), nil
	}
	if s.Unit(unit) != nil {
		return refusal(call, "org.freedesktop.systemd1.UnitExists"), nil
	}
	if s.OnStart != nil {
		if err := s.OnStart(unit, props); err != nil {
			return refusal(call, "org.freedesktop.DBus.Error.InvalidArgs"), nil
		}
	}
	s.mu.Lock()
	s.units[unit] = props
	s.mu.Unlock()
	return s.job(call, unit)
}

func (s *Server) stop(call *dbus.Message, unit string) (reply, signal *dbus.Message) {
	if s.Unit(unit) == nil {
		return refusal(call, "org.freedesktop.systemd1.NoSuchUnit"), nil
	}
	if s.OnStop != nil {
		s.OnStop(unit)
	}
	s.mu.Lock()
	delete(s.units, unit)
	s.mu.Unlock()
	return s.job(call, unit)
}

func (s *Server) set(call *dbus.Message, unit string) *dbus.Message {
	if s.Unit(unit) == nil {
		return refusal(call, "org.freedesktop.systemd1.NoSuchUnit")
	}
	s.mu.Lock()
	maps.Copy(s.units[unit], properties(call.Body[2]))
	s.mu.Unlock()
	return answer(call)
}

// job answers with a job's path and tells of its end.
func (s *Server) job(call *dbus.Message, unit string) (reply, signal *dbus.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs++
	result := s.Result
	if result == "" {
		result = "done"
	}
	path := dbus.ObjectPath(fmt.Sprintf("/org/freedesktop/systemd1/job/%d", s.jobs))
	removed := &dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath:      dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/systemd1")),
		dbus.FieldInterface: dbus.MakeVariant(managerName),
		dbus.FieldMember:    dbus.MakeVariant("JobRemoved"),
		dbus.FieldSender:    dbus.MakeVariant("org.freedesktop.systemd1"),
	}, Body: []any{uint32(s.jobs), path, unit, result}}
	removed.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(removed.Body...))
	return answer(call, path), removed
}

// properties reads a(sv).
func properties(body any) map[string]any {
	props := map[string]any{}
	list, _ := body.([][]any)
	for _, pair := range list {
		name, _ := pair[0].(string)
		value, _ := pair[1].(dbus.Variant)
		props[name] = value.Value()
	}
	return props
}

func answer(call *dbus.Message, body ...any) *dbus.Message {
	m := &dbus.Message{Type: dbus.TypeMethodReply, Body: body, Headers: replyHeaders(call)}
	if len(body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	return m
}

func refusal(call *dbus.Message, name string) *dbus.Message {
	m := &dbus.Message{Type: dbus.TypeError, Body: []any{"refused by the test"}, Headers: replyHeaders(call)}
	m.Headers[dbus.FieldErrorName] = dbus.MakeVariant(name)
	m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(""))
	return m
}

func replyHeaders(call *dbus.Message) map[dbus.HeaderField]dbus.Variant {
	return map[dbus.HeaderField]dbus.Variant{dbus.FieldReplySerial: dbus.MakeVariant(call.Serial())}
}
