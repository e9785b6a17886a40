package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/berth-runtime/berth/internal/errdefs"
)

// maxFile bounds the file: 1 MiB is a thousand times what anybody needs.
const maxFile = 1 << 20

// Load reads the file at path over the defaults. With an empty path it reads [DefaultPath], which may be absent.
func Load(path string) (Config, error) {
	optional := path == ""
	if optional {
		path = DefaultPath
	}
	f, err := os.Open(path)
	if optional && errors.Is(err, fs.ErrNotExist) {
		return Default(), nil
	}
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Parse decodes TOML over the defaults. An unknown key is an error that names its line and the nearest known key.
func Parse(data []byte) (Config, error) {
	if len(data) > maxFile {
		return Config{}, errdefs.Invalid("more than %d bytes", maxFile)
	}
	c := Default()
	dec := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	err := dec.Decode(&c)
	if err == nil {
		return c, nil
	}
	if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		return Config{}, describeUnknown(unknown)
	}
	if at, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := at.Position()
		return Config{}, errdefs.Invalid("line %d, column %d: %s", line, column, strings.TrimPrefix(at.Error(), "toml: "))
	}
	return Config{}, errdefs.Invalid("%w", err)
}

// Marshal renders c as a commented file that [Parse] reads back.
func (c Config) Marshal() ([]byte, error) {
	data, err := toml.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("render the configuration: %w", err)
	}
	return data, nil
}
