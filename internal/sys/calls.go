package sys

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"
)

// Numbers and flags of system calls that a forked child makes by itself (runtime/fork), which the standard library's
// frozen tables lack.
const (
	NrCapset       = unix.SYS_CAPSET
	NrChdir        = unix.SYS_CHDIR
	NrChroot       = unix.SYS_CHROOT
	NrCloseRange   = unix.SYS_CLOSE_RANGE
	NrDup3         = unix.SYS_DUP3
	NrExecve       = unix.SYS_EXECVE
	NrExecveat     = unix.SYS_EXECVEAT
	NrFchdir       = unix.SYS_FCHDIR
	NrFchownat     = unix.SYS_FCHOWNAT
	NrFcntl        = unix.SYS_FCNTL
	NrFsconfig     = unix.SYS_FSCONFIG
	NrFsmount      = unix.SYS_FSMOUNT
	NrFsopen       = unix.SYS_FSOPEN
	NrFspick       = unix.SYS_FSPICK
	NrIoctl        = unix.SYS_IOCTL
	NrKeyctl       = unix.SYS_KEYCTL
	NrMkdirat      = unix.SYS_MKDIRAT
	NrMknodat      = unix.SYS_MKNODAT
	NrMount        = unix.SYS_MOUNT
	NrMountSetattr = unix.SYS_MOUNT_SETATTR
	NrMoveMount    = unix.SYS_MOVE_MOUNT
	NrOpenTree     = unix.SYS_OPEN_TREE
	NrOpenat2      = unix.SYS_OPENAT2
	NrPivotRoot    = unix.SYS_PIVOT_ROOT
	NrPrctl        = unix.SYS_PRCTL
	NrPrlimit      = unix.SYS_PRLIMIT64
	NrRead         = unix.SYS_READ
	NrReadlinkat   = unix.SYS_READLINKAT
	NrSeccomp      = unix.SYS_SECCOMP
	NrSetdomain    = unix.SYS_SETDOMAINNAME
	NrSetgroups    = unix.SYS_SETGROUPS
	NrSethostname  = unix.SYS_SETHOSTNAME
	NrSetns        = unix.SYS_SETNS
	NrSetresgid    = unix.SYS_SETRESGID
	NrSetresuid    = unix.SYS_SETRESUID
	NrSetsid       = unix.SYS_SETSID
	NrSocket       = unix.SYS_SOCKET
	NrSymlinkat    = unix.SYS_SYMLINKAT
	NrUmask        = unix.SYS_UMASK
	NrUmount       = unix.SYS_UMOUNT2
	NrUnshare      = unix.SYS_UNSHARE
	NrWrite        = unix.SYS_WRITE

	AtFdcwd                = unix.AT_FDCWD
	AtEmptyPath            = unix.AT_EMPTY_PATH
	AtRecursive            = unix.AT_RECURSIVE
	AtSymlinkNofollow      = unix.AT_SYMLINK_NOFOLLOW
	CapbsetDrop            = unix.PR_CAPBSET_DROP
	CapAmbient             = unix.PR_CAP_AMBIENT
	CapAmbientRaise        = unix.PR_CAP_AMBIENT_RAISE
	CloneNewcgroup         = unix.CLONE_NEWCGROUP
	CloneNewpid            = unix.CLONE_NEWPID
	CloneNewtime           = unix.CLONE_NEWTIME
	CloneNewuser           = unix.CLONE_NEWUSER
	CloseRangeCloexec      = unix.CLOSE_RANGE_CLOEXEC
	FsconfigSetFlag        = unix.FSCONFIG_SET_FLAG
	FsconfigSetString      = unix.FSCONFIG_SET_STRING
	FsconfigCmdCreate      = unix.FSCONFIG_CMD_CREATE
	FsconfigCmdReconfigure = unix.FSCONFIG_CMD_RECONFIGURE
	FspickEmpty            = unix.FSPICK_EMPTY_PATH
	FspickCloexec          = unix.FSPICK_CLOEXEC
	FsmountCloexec         = unix.FSMOUNT_CLOEXEC
	FsopenCloexec          = unix.FSOPEN_CLOEXEC
	KeyctlJoinSession      = unix.KEYCTL_JOIN_SESSION_KEYRING
	MoveMountEmptyPaths    = unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_EMPTY_PATH
	MoveMountEmptyFrom     = unix.MOVE_MOUNT_F_EMPTY_PATH
	OpenTreeCloexec        = unix.OPEN_TREE_CLOEXEC
	OpenTreeClone          = unix.OPEN_TREE_CLONE
	PrSetDumpable          = unix.PR_SET_DUMPABLE
	SeccompSetFilter       = unix.SECCOMP_SET_MODE_FILTER
	SetKeepcaps            = unix.PR_SET_KEEPCAPS
	SetNoNewPrivs          = unix.PR_SET_NO_NEW_PRIVS
	TIOCSCTTY              = unix.TIOCSCTTY
)

// OpenHow returns struct open_how of openat2(2).
func OpenHow(flags int, mode uint32, resolve uint64) []byte {
	return words(uint64(flags|syscall.O_CLOEXEC), uint64(mode), resolve)
}

// MountAttrBytes returns struct mount_attr of mount_setattr(2).
func MountAttrBytes(a MountAttr) []byte { return words(a.Set, a.Clear, a.Propagation, 0) }

// RlimitBytes returns struct rlimit64.
func RlimitBytes(soft, hard uint64) []byte { return words(soft, hard) }

// CapHeader returns struct __user_cap_header_struct for the calling thread, version 3.
func CapHeader() []byte {
	p := make([]byte, 8)
	binary.NativeEndian.PutUint32(p, unix.LINUX_CAPABILITY_VERSION_3)
	return p
}

// CapData returns the two struct __user_cap_data_struct of version 3.
func CapData(effective, permitted, inheritable uint64) []byte {
	var p []byte
	for _, half := range []uint{0, 32} {
		for _, set := range []uint64{effective, permitted, inheritable} {
			p = binary.NativeEndian.AppendUint32(p, uint32(set>>half))
		}
	}
	return p
}

func words(list ...uint64) []byte {
	var p []byte
	for _, w := range list {
		p = binary.NativeEndian.AppendUint64(p, w)
	}
	return p
}
