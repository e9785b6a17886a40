# Runs a command in mount, PID and cgroup namespaces of its own: NAME COMMAND…. Programs of the suite make groups at the top, and
# runc, which has no mount namespace in one of them, mounts on what it takes for the host.
set -eu
name=$1
shift
if [ "${VALIDATION_INNER:-}" = "" ]; then
	list() { while read -r _ dir type options _; do case $type in cgroup | cgroup2) echo "$dir $type $options" ;; esac; done </proc/mounts; }
	VALIDATION_INNER=$(list)
	export VALIDATION_INNER
	echo "$VALIDATION_INNER" | while read -r dir _ _; do
		mkdir -p "$dir/$name"
		for f in cpuset.cpus cpuset.mems; do
			if [ -e "$dir/$f" ]; then cat "$dir/$f" >"$dir/$name/$f"; fi
		done
		echo $$ >"$dir/$name/cgroup.procs"
	done
	exec unshare --mount --cgroup --pid --fork --kill-child --mount-proc sh "$0" "$name" "$@"
fi
echo "$VALIDATION_INNER" | while read -r dir type options; do
	umount "$dir" # the kernel refuses the same file system twice at one place
	case $type in
	cgroup2)
		mount -t cgroup2 cgroup2 "$dir"
		mkdir "$dir/init"
		echo $$ >"$dir/init/cgroup.procs" # groups with processes can't have controllers for those below
		;;
	cgroup)
		kept=
		for o in $(echo "$options" | tr , ' '); do
			case $o in rw | ro | nosuid | nodev | noexec | relatime | noatime | seclabel) ;; name=*) kept=$kept,none,$o ;; *) kept=$kept,$o ;; esac
		done
		mount -t cgroup -o "${kept#,}" cgroup "$dir"
		;;
	esac
done
mount --make-rshared / # as on most hosts: some programs share mounts with the container
unset VALIDATION_INNER
"$@" # and this shell reaps what is left to it
