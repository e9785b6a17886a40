// Docker's profile, which TestVerdictsAreLibseccomps reads from the module's files.
module github.com/berth-runtime/berth/runtime/seccomp/testdata/moby

go 1.26.2

require github.com/moby/profiles/seccomp v0.3.0 // indirect
