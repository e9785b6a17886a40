package images

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// fetchSource downloads and unpacks a source package of the distribution into dst. It asks the machine's own package sources,
// read as source repositories through lists of its own, so nothing of the system is changed.
func fetchSource(ctx context.Context, work, dst, name string) error {
	sources, err := sourceLists("/etc/apt")
	if err != nil {
		return err
	}
	lists := filepath.Join(work, "lists")
	if err := os.MkdirAll(filepath.Join(lists, "partial"), 0o755); err != nil {
		return err
	}
	file := filepath.Join(work, "source.sources")
	if err := os.WriteFile(file, []byte(sources), 0o644); err != nil {
		return err
	}
	options := []string{
		"-o", "Dir::Etc::sourcelist=" + file, "-o", "Dir::Etc::sourceparts=-", "-o", "Dir::State::lists=" + lists,
		"-o", "Dir::Cache::srcpkgcache=", "-o", "Dir::Cache::pkgcache=", "-o", "APT::Sandbox::User=root",
	}
	// A foreign package source without source packages makes the update fail, and does no harm.
	updateErr := run(ctx, work, "apt-get", append(options, "-q", "update")...)
	if err := run(ctx, work, "apt-get", append(options, "-q", "source", "--download-only", name)...); err != nil {
		return errors.Join(err, updateErr)
	}
	dsc, err := filepath.Glob(filepath.Join(work, name+"_*.dsc"))
	if err != nil {
		return err
	}
	if len(dsc) != 1 {
		return fmt.Errorf("source package %s: want one .dsc file, have %v", name, dsc)
	}
	// apt has checked the files against the signed lists; the maintainer's own signature needs keys that a machine need not have.
	return run(ctx, work, "dpkg-source", "--no-check", "-x", dsc[0], dst)
}

// sourceLists reads the binary package sources below dir (sources.list and sources.list.d, both formats) and returns them as
// source repositories, in deb822 format.
func sourceLists(dir string) (string, error) {
	var out strings.Builder
	one, err := filepath.Glob(filepath.Join(dir, "sources.list.d", "*.list"))
	if err != nil {
		return "", err
	}
	for _, path := range append(one, filepath.Join(dir, "sources.list")) {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		out.WriteString(fromOneLine(string(data)))
	}
	many, err := filepath.Glob(filepath.Join(dir, "sources.list.d", "*.sources"))
	if err != nil {
		return "", err
	}
	for _, path := range many {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		out.WriteString(fromStanzas(string(data)))
	}
	if out.Len() == 0 {
		return "", fmt.Errorf("%s: no package sources found", dir)
	}
	return out.String(), nil
}

// fromOneLine turns "deb [option=value …] URI SUITE COMPONENT…" lines into deb-src stanzas.
func fromOneLine(list string) string {
	var out strings.Builder
	for line := range strings.Lines(list) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		rest, ok := strings.CutPrefix(line, "deb ")
		if !ok {
			continue
		}
		var options string
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			options, rest, _ = strings.Cut(rest[1:], "]")
		}
		f := strings.Fields(rest)
		if len(f) < 2 {
			continue
		}
		fmt.Fprintf(&out, "Types: deb-src\nURIs: %s\nSuites: %s\n", f[0], f[1])
		if len(f) > 2 {
			fmt.Fprintf(&out, "Components: %s\n", strings.Join(f[2:], " "))
		}
		for option := range strings.FieldsSeq(options) {
			if key, ok := strings.CutPrefix(option, "signed-by="); ok {
				fmt.Fprintf(&out, "Signed-By: %s\n", key)
			}
		}
		out.WriteString("\n")
	}
	return out.String()
}

// fromStanzas turns deb822 stanzas of type deb into deb-src ones; disabled ones and others are left out.
func fromStanzas(data string) string {
	var out, stanza strings.Builder
	binary, enabled := false, true
	flush := func() {
		if binary && enabled && stanza.Len() > 0 {
			out.WriteString("Types: deb-src\n" + stanza.String() + "\n")
		}
		stanza.Reset()
		binary, enabled = false, true
	}
	lines := bufio.NewScanner(strings.NewReader(data))
	for lines.Scan() {
		line := lines.Text()
		field, value, _ := strings.Cut(line, ":")
		switch {
		case strings.TrimSpace(line) == "":
			flush()
		case strings.HasPrefix(line, "#"):
		case strings.EqualFold(field, "Types"):
			binary = strings.Contains(" "+value+" ", " deb ")
		case strings.EqualFold(field, "Enabled"):
			enabled = strings.TrimSpace(value) != "no"
		case strings.EqualFold(field, "Architectures"):
		default:
			stanza.WriteString(line + "\n")
		}
	}
	flush()
	return out.String()
}
