package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Repo returns the repository's root: the nearest folder above the working directory that holds go.mod and bin's Makefile.
func Repo() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		_, modErr := os.Stat(filepath.Join(d, "go.mod"))
		_, makeErr := os.Stat(filepath.Join(d, "Makefile"))
		if modErr == nil && makeErr == nil {
			return d, nil
		}
		if d == "/" {
			return "", fmt.Errorf("find the repository above %s: %w", dir, errors.Join(modErr, makeErr))
		}
	}
}

// Binary returns the path of a program that `make build` makes, such as "berthd" or "cni/bridge".
func Binary(name string) (string, error) {
	repo, err := Repo()
	if err != nil {
		return "", err
	}
	path := filepath.Join(repo, "bin", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w; run `make build` first", err)
	}
	return path, nil
}

// ImageLayout returns the layout of test images that `make images` makes.
func ImageLayout() (string, error) {
	repo, err := Repo()
	if err != nil {
		return "", err
	}
	path := filepath.Join(repo, "build", "images")
	if _, err := os.Stat(filepath.Join(path, "index.json")); err != nil {
		return "", fmt.Errorf("%w; run `make images` first", err)
	}
	return path, nil
}
