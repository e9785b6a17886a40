package testutil

// sysSetns is setns(2), which the standard library does not number.
const sysSetns = 268
