// Package seccomp compiles OCI seccomp profiles into programs for seccomp(2), without libseccomp.
//
// [Compiler.Compile] checks a profile and returns a [Filter]: classic BPF (Documentation/networking/filter.rst), flags
// for seccomp(2), and what the user should know. It is pure; it knows x86-64 machines (with x86 and x32) and arm64 ones
// (with arm). A program finds the ABI by the audit architecture, then the call by binary search over ranges of numbers
// that have one verdict, then, where there are any, compares arguments in the order of the profile. The kernel takes 0.2 to 0.3 µs for each
// instruction to install it, so that verdicts are shared, as are loads of arguments, and a single number that interrupts a range costs one
// comparison.
//
// The meaning of a profile is what runc and libseccomp give it, as that is what profiles are written for:
//
//   - A rule whose action is the default one is nothing. Of several rules on a call the first without conditions wins,
//     whatever comes before or after it; else the first whose conditions all hold; else the default action.
//   - A rule with two conditions on one argument stands for one rule for each of its conditions.
//   - Conditions of 32-bit ABIs, x32 included, see the lower half of arguments and values.
//   - Calls that x86 has as parts of socketcall(2) and ipc(2) are filtered there too, by number; what the rule says of
//     the first argument can't be.
//   - A call from an ABI that the profile does not list kills the thread.
//   - Unless the default action lets calls pass, one that is newer than any in the profile fails with ENOSYS, not with
//     what the author chose for calls that were known: programs fall back on that.
//
// The Compiler keeps the last filters by a hash of their profile; it is the package's only state, and its user's.
package seccomp
