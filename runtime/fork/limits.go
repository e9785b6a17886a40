package fork

// Bounds of a program. They are far above what a container needs, and keep a broken or hostile message from taking the
// launcher's memory.
const (
	maxCalls  = 8192
	maxFiles  = 4096
	maxRelocs = 1 << 17 // argv and env together, two million bytes at 16 bytes each
	maxArena  = 6 << 20 // execve takes at most 6 MiB of strings (MAX_ARG_STRLEN, ARG_MAX: execve(2))
	maxStep   = 8192    // bytes of one step's text: two paths
	maxSteps  = 4 << 20
	maxIgnore = 8
	maxErrno  = 4095
	maxNR     = 1024
)
