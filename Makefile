# Targets set up what they need (see hack/go and hack/need) and work on a fresh Debian machine as root.
# `make help` lists them.

SHELL   := /bin/sh
GO      := hack/go
PREFIX  := /usr
SYSCONF := /etc
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/berth-runtime/berth/internal/version.Version=$(VERSION)
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'

# berth-oci and the CNI plugins begin with a few instructions before the Go runtime: see their entry_amd64.s.
ARCH_aarch64 := arm64
ARCH_x86_64  := amd64
ARCH    := $(filter amd64 arm64,$(or $(GOARCH),$(ARCH_$(shell uname -m))))
ENTRY    = -ldflags 'github.com/berth-runtime/berth/$(1)=$(LDFLAGS) -E _berth_$(2)_$(ARCH)_linux'
BUILD   += $(if $(ARCH),$(call ENTRY,runtime/cmd/berth-oci,oci) $(call ENTRY,cni-plugins/...,plugin))

PROGRAMS := $(notdir $(wildcard cri-server/cmd/* runtime/cmd/*))
PLUGINS  := $(patsubst cni-plugins/%/main.go,%,$(wildcard cni-plugins/*/main.go))

export GOFLAGS := -buildvcs=false

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build every program into bin/ and every CNI plugin into bin/cni/
	@mkdir -p bin/cni
	$(BUILD) -o bin/ ./cri-server/cmd/... ./runtime/cmd/...
	$(BUILD) -o bin/cni/ $(PLUGINS:%=./cni-plugins/%)

.PHONY: demo
demo: build ## pull, run and reach a pod, in namespaces that leave nothing behind
	@mkdir -p build
	@$(GO) run ./test/images/cmd/test-images --only berth/hello:1 --out build/demo-images
	@$(GO) build -o build/bin/demo ./test/demo
	@build/bin/demo

.PHONY: check
check: lint cross unit ## lint, cross-build for arm64, unit tests with -race

.PHONY: lint
lint: build/bin/vet ## formatting, go vet on both architectures, staticcheck and more
	@hack/lint

.PHONY: cross
cross: ## build everything for arm64
	CGO_ENABLED=0 GOARCH=arm64 $(GO) build ./...
	@mkdir -p build/arm64
	CGO_ENABLED=0 GOARCH=arm64 $(GO) build -ldflags '-E _berth_oci_arm64_linux' -o build/arm64/ ./runtime/cmd/berth-oci
	CGO_ENABLED=0 GOARCH=arm64 $(GO) build -ldflags '-E _berth_plugin_arm64_linux' -o build/arm64/ ./cni-plugins/loopback

.PHONY: unit
unit: ## unit and integration tests with -race
	@hack/need gcc=gcc lib:/usr/include/stdlib.h=libc6-dev lib:/usr/include/seccomp.h=libseccomp-dev lib:/usr/share/containers/seccomp.json=golang-github-containers-common nft=nftables ip=iproute2
	@$(GO) run ./test/suite unit

.PHONY: test
test: build images critest runtime-tools ## everything: check, end to end, crash, conformance, virtual machine
	@hack/need gcc=gcc lib:/usr/include/stdlib.h=libc6-dev lib:/usr/include/seccomp.h=libseccomp-dev lib:/usr/share/containers/seccomp.json=golang-github-containers-common nft=nftables ip=iproute2 lib:/usr/lib/cni/bridge=containernetworking-plugins iptables=iptables ipcmk=util-linux-extra apparmor_parser=apparmor podman=podman conmon=conmon containerd-shim-runc-v2=containerd qemu-system-x86_64=qemu-system-x86 xz=xz-utils mke2fs=e2fsprogs
	@$(GO) run ./test/suite

.PHONY: e2e
e2e: build images ## end-to-end and crash tests
	@$(GO) run ./test/suite e2e crash

.PHONY: conformance
conformance: build images critest ## all of critest against a berthd of its own; CONFORMANCE_FLAGS='--focus REGEXP'
	@hack/need ipcmk=util-linux-extra
	@$(GO) build -o build/bin/conformance ./test/conformance/cmd/conformance
	@build/bin/conformance $(CONFORMANCE_FLAGS)

.PHONY: validation
validation: build runtime-tools ## runtime-tools' validation programs with runc and berth-oci; VALIDATION_FLAGS=--write writes the table
	@hack/need runc=runc unshare=util-linux
	@$(GO) build -o build/bin/validation ./test/conformance/cmd/validation
	@build/bin/validation $(VALIDATION_FLAGS)

.PHONY: test-vm
test-vm: build images critest ## the runtime's tests, critest's container and security groups, smoke tests: cgroup v2, AppArmor, qemu
	@hack/need apparmor_parser=apparmor nft=nftables ipcmk=util-linux-extra qemu-system-x86_64=qemu-system-x86 xz=xz-utils mke2fs=e2fsprogs dpkg-deb=dpkg
	@$(GO) run ./test/suite vm

.PHONY: bench
bench: build images ## figures, beside Debian's crun, runc and CNI plugins, and its containerd where it is installed; BENCH_FLAGS='--json FILE'
	@hack/need runc=runc crun=crun iptables=iptables lib:/usr/lib/cni/bridge=containernetworking-plugins
	@$(GO) build -o build/bin/bench ./test/bench
	@PATH=$$PATH:/usr/sbin:/sbin build/bin/bench $(BENCH_FLAGS)
	@$(GO) test -run '^$$' -bench 'Memory|Quiet|Upgrade|Log' -benchtime 1s ./runtime/keeper
	@$(GO) test -run '^$$' -bench 'Seccomp' -benchtime 100x ./runtime/container

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (20s)
	@hack/fuzz $(or $(FUZZTIME),20s)

.PHONY: images
images: ## build the test images into build/images
	@test -x build/cache/busybox || hack/need gcc=gcc make=make bzip2=bzip2 lib:/usr/include/stdlib.h=libc6-dev lib:/usr/include/linux/kd.h=linux-libc-dev dpkg-source=dpkg-dev
	@mkdir -p build
	@$(GO) run ./test/images/cmd/test-images

.PHONY: critest
critest: build/bin/critest build/bin/crictl ## build critest and crictl, pinned in test/conformance/suite

SUITE_MODULE := test/conformance/suite/go.mod test/conformance/suite/go.sum
SUITE_FLAGS  := -trimpath -ldflags '-s -w -X sigs.k8s.io/cri-tools/pkg/version.Version=v1.36.0'

build/bin/critest: $(SUITE_MODULE)
	@mkdir -p build/bin
	cd test/conformance/suite && ../../../$(GO) test -c $(SUITE_FLAGS) -o ../../../$@ sigs.k8s.io/cri-tools/cmd/critest

build/bin/crictl: $(SUITE_MODULE)
	@mkdir -p build/bin
	cd test/conformance/suite && ../../../$(GO) build $(SUITE_FLAGS) -o ../../../$@ sigs.k8s.io/cri-tools/cmd/crictl

.PHONY: runtime-tools
runtime-tools: build/validation/runtimetest ## build runtime-tools' validation programs, pinned in test/conformance/validation/suite

TOOLS        := github.com/opencontainers/runtime-tools
TOOLS_MODULE := test/conformance/validation/suite/go.mod test/conformance/validation/suite/go.sum

build/validation/runtimetest: $(TOOLS_MODULE)
	@mkdir -p build/validation
	cd test/conformance/validation/suite && CGO_ENABLED=0 ../../../../$(GO) build -trimpath -ldflags '-s -w' -o ../../../../build/validation/ $(TOOLS)/validation/...
	cd test/conformance/validation/suite && install -m 644 "$$(../../../../$(GO) list -m -f '{{.Dir}}' $(TOOLS))"/rootfs-*.tar.gz ../../../../build/validation/
	cd test/conformance/validation/suite && CGO_ENABLED=0 ../../../../$(GO) build -trimpath -ldflags '-s -w' -o ../../../../$@ $(TOOLS)/cmd/runtimetest

build/bin/vet: tools/go.mod tools/go.sum $(wildcard tools/vet/*.go)
	@mkdir -p build/bin
	cd tools && ../$(GO) build -o ../$@ ./vet

.PHONY: install
install: build ## install below DESTDIR and PREFIX, with systemd units and examples
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/berth/cni $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/doc/berth $(DESTDIR)$(SYSCONF)/berth/certs.d
	install -m 755 $(PROGRAMS:%=bin/%) $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(PLUGINS:%=bin/cni/%) $(DESTDIR)$(PREFIX)/lib/berth/cni/
	for unit in hack/systemd/*.service; do sed 's|@PREFIX@|$(PREFIX)|g' $$unit >$(DESTDIR)$(PREFIX)/lib/systemd/system/$${unit##*/} || exit 1; done
	install -m 644 hack/crictl.yaml LICENSE $(DESTDIR)$(PREFIX)/share/doc/berth/

.PHONY: fmt
fmt: ## format all Go files
	@$(GO) tool -modfile=tools/go.mod gofumpt -w .
	@$(GO) tool -modfile=tools/go.mod goimports -local github.com/berth-runtime/berth -w .

.PHONY: clean
clean: ## remove bin/ and build/
	rm -rf bin build
