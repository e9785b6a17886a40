#!/bin/sh
# Builds the CNI project's plugins, of the release that upstream.txt is about, into a folder: upstream.sh DIR
set -eu
version=v1.9.1
mkdir -p "$1"
out=$(cd "$1" && pwd)
module=$(mktemp -d)
trap 'rm -rf "$module"' EXIT
cd "$module"
go mod init upstream
go get "github.com/containernetworking/plugins/...@$version"
for p in main/bridge ipam/host-local ipam/static main/loopback meta/portmap meta/tuning meta/bandwidth meta/firewall; do
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$out/${p#*/}" "github.com/containernetworking/plugins/plugins/$p"
done
