package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"
)

// portCases ask about the life of published ports. Each runs with a chain of bridge and portmap, which is what all plugins can do.
func portCases() []testCase {
	return []testCase{
		{"portmap/passes prevResult on", portPasses},
		{"portmap/needs prevResult", portAlone},
		{"portmap/DEL closes the port", publishDel},
		{"portmap/DEL works when the namespace is gone", publishDelGone},
		{"portmap/a taken port is refused and names its owner", publishConflict},
		{"portmap/one port at two host IPs and two protocols", publishShared},
		{"portmap/a port that a process listens on is refused", publishListener},
		{"portmap/UDP flow moves to the new container", udpMoves},
		{"portmap/CHECK finds a lost rule", portCheck},
		{"portmap/GC closes ports of what is not valid", portGC},
		{"portmap/range: many ports in one mapping", portRange},
		{"portmap/hostPort 0 and autoHostPorts: a free port", autoPorts},
		{"portmap/masqAll hides who asks", masqAll},
		{"portmap/conditions say who is let to a port, and at which address", conditions},
		{"portmap/conditions that can't be met, and those not understood, are errors", badConditions},
		{"portmap/second interface of one container", secondInterface},
		{"portmap/bad mappings are code 7", badMappings},
	}
}

type mapping struct {
	host, inside int
	protocol, ip string
}

func mappings(list ...mapping) object {
	var entries []any
	for _, m := range list {
		entry := object{"hostPort": m.host, "containerPort": m.inside, "protocol": m.protocol}
		if m.ip != "" {
			entry["hostIP"] = m.ip
		}
		entries = append(entries, entry)
	}
	return object{"portMappings": entries}
}

// both publishes a port by tcp and udp.
func both(host, inside int, ip string) object {
	return mappings(mapping{host, inside, "tcp", ip}, mapping{host, inside, "udp", ip})
}

func portmapConf(runtime, prev object) object {
	conf := object{"cniVersion": "1.1.0", "name": "net", "type": "portmap", "runtimeConfig": runtime}
	if prev != nil {
		conf["prevResult"] = prev
	}
	return conf
}

// published attaches a container by bridge, publishes ports by portmap, and serves on port 80.
func (e *env) published(name string, conf, runtime object) (*container, *current.Result, object, error) {
	c, result, raw, err := e.attached(name, conf)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := e.serve(c.ns, 80); err != nil {
		return nil, nil, nil, err
	}
	if _, _, err := e.add("portmap", c, portmapConf(runtime, raw)); err != nil {
		return c, nil, nil, err
	}
	return c, result, raw, nil
}

func portPasses(e *env) error {
	c, _, raw, err := e.attached("c1", e.bridge())
	if err != nil {
		return err
	}
	_, passed, err := e.add("portmap", c, portmapConf(both(8080, 80, ""), raw))
	if err != nil {
		return err
	}
	if fmt.Sprint(passed) != fmt.Sprint(raw) {
		return fmt.Errorf("it made %v of %v", passed, raw)
	}
	_, passed, err = e.add("portmap", c, portmapConf(object{}, raw))
	if err != nil || fmt.Sprint(passed) != fmt.Sprint(raw) {
		return saw(err, "without mappings it made %v of %v", passed, raw)
	}
	return nil
}

func portAlone(e *env) error {
	c, err := e.container("c1")
	if err != nil {
		return err
	}
	_, _, err = e.add("portmap", c, portmapConf(both(8080, 80, ""), nil))
	return wantCode(err, 7)
}

func publishDel(e *env) error {
	c, _, raw, err := e.published("c1", e.bridge(), both(8080, 80, ""))
	if err != nil {
		return err
	}
	if err := reach(e.host, "127.0.0.1:8080", ""); err != nil {
		return err
	}
	for range 2 {
		if err := e.del("portmap", c, portmapConf(both(8080, 80, ""), raw)); err != nil {
			return err
		}
	}
	return errors.Join(refused(e.host, "tcp", "127.0.0.1:8080"), refused(e.host, "udp", "127.0.0.1:8080"), reach(e.host, "10.9.0.2:80", ""))
}

func publishDelGone(e *env) error {
	c, _, _, err := e.published("c1", e.bridge(), both(8080, 80, ""))
	if err != nil {
		return err
	}
	if err := c.remove(); err != nil {
		return err
	}
	if err := errors.Join(e.del("portmap", c, portmapConf(both(8080, 80, ""), nil)), e.del("bridge", c, e.bridge())); err != nil {
		return err
	}
	if _, _, _, err := e.published("c2", e.bridge(), both(8080, 80, "")); err != nil {
		return err
	}
	return reach(e.host, "127.0.0.1:8080", "")
}

func publishConflict(e *env) error {
	if _, _, _, err := e.published("first", e.bridge(), both(8080, 80, "")); err != nil {
		return err
	}
	c, _, _, err := e.published("second", e.bridge(), both(8080, 80, ""))
	var said *pluginError
	switch {
	case err == nil:
		return errors.New("the second container got the port too")
	case !errors.As(err, &said):
		return err
	case !strings.Contains(said.Msg, "first") || !strings.Contains(said.Msg, "8080"):
		return fmt.Errorf("the message names neither port nor owner: %w", err)
	}
	if err := e.del("portmap", c, portmapConf(both(8080, 80, ""), nil)); err != nil {
		return err
	}
	return reach(e.host, "127.0.0.1:8080", "")
}

func publishShared(e *env) error {
	if _, err := e.outside(); err != nil {
		return err
	}
	if _, _, _, err := e.published("c1", e.bridge(), mappings(mapping{8080, 80, "tcp", "127.0.0.1"})); err != nil {
		return err
	}
	if _, _, _, err := e.published("c2", e.bridge(), mappings(mapping{8080, 80, "tcp", "192.0.2.1"})); err != nil {
		return fmt.Errorf("another host IP: %w", err)
	}
	if _, _, _, err := e.published("c3", e.bridge(), mappings(mapping{8080, 80, "udp", ""})); err != nil {
		return fmt.Errorf("another protocol: %w", err)
	}
	_, err1 := ask(e.host, "tcp", "127.0.0.1:8080")
	_, err2 := ask(e.host, "tcp", "192.0.2.1:8080")
	_, err3 := ask(e.host, "udp", "127.0.0.1:8080")
	return errors.Join(err1, err2, err3)
}

func publishListener(e *env) error {
	if err := e.serve(e.host, 8080); err != nil {
		return err
	}
	for i, m := range []mapping{{8080, 80, "tcp", ""}, {8080, 80, "udp", ""}} {
		if _, _, _, err := e.published(fmt.Sprint("c", i), e.bridge(), mappings(m)); err == nil {
			return fmt.Errorf("the %s port of a process was taken over", m.protocol)
		}
	}
	_, err := ask(e.host, "tcp", "127.0.0.1:8080")
	return err
}

// udpMoves sends from one socket all the time, as a client that does not know of containers.
func udpMoves(e *env) error {
	outside, err := e.outside()
	if err != nil {
		return err
	}
	var client net.Conn
	if err := outside.Do(func() (err error) { client, err = net.Dial("udp", "192.0.2.1:8080"); return err }); err != nil {
		return err
	}
	e.cu.Add(client.Close)
	if _, err := client.Write([]byte("nobody is there yet")); err != nil {
		return err
	}
	for _, name := range []string{"c1", "c2"} {
		c, _, raw, err := e.published(name, e.bridge(), both(8080, 80, ""))
		if err != nil {
			return err
		}
		if err := answered(client); err != nil {
			return fmt.Errorf("flow to %s: %w", name, err)
		}
		if err := e.del("portmap", c, portmapConf(both(8080, 80, ""), raw)); err != nil {
			return err
		}
	}
	return nil
}

// answered sends until an answer comes; an ICMP error of before is no answer.
func answered(c net.Conn) error {
	deadline := time.Now().Add(answerTime)
	for {
		if _, err := converse(c, silenceTime); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

func portCheck(e *env) error {
	c, _, raw, err := e.published("c1", e.bridge(), both(8080, 80, ""))
	if err != nil {
		return err
	}
	conf := portmapConf(both(8080, 80, ""), nil)
	if err := e.check("portmap", c, conf, raw); err != nil {
		return err
	}
	if err := e.del("portmap", c, conf); err != nil {
		return err
	}
	if e.check("portmap", c, conf, raw) == nil {
		return errors.New("CHECK succeeds without the rule")
	}
	return nil
}

func portGC(e *env) error {
	if _, _, _, err := e.published("stale", e.bridge(), both(8080, 80, "")); err != nil {
		return err
	}
	kept, _, _, err := e.published("kept", e.bridge(), both(8081, 80, ""))
	if err != nil {
		return err
	}
	if err := e.gc("portmap", portmapConf(nil, nil), kept); err != nil {
		return err
	}
	return errors.Join(refused(e.host, "tcp", "127.0.0.1:8080"), reach(e.host, "127.0.0.1:8081", ""))
}
