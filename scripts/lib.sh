# shellcheck shell=bash
# Sourced by the scripts here: where things are, and how a script speaks.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034  # for the scripts that source this
BUILD=$ROOT/build
# Another series than the default is built in a directory of its own.
[ -z "${LINUX_SERIES:-}${QEMU_SERIES:-}" ] || BUILD=$(python3 "$ROOT/scripts/project.py")
LOGS=$BUILD/logs
PATH+=:/usr/local/sbin:/usr/sbin:/sbin	# Debian's users have not got mke2fs in theirs
unset MAKEFLAGS MFLAGS MAKELEVEL	# ours are not meant for the makes below
mkdir -p "$LOGS"

say() { printf '%s\n' "$*"; }

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# logged NAME COMMAND...: quiet unless V=1; the log is build/logs/NAME.log, and its
# end is shown when the command fails.
logged()
{
	local log=$LOGS/$1.log
	shift
	if [ "${V:-0}" != 0 ]; then
		"$@" 2>&1 | tee "$log"
		return
	fi
	"$@" >"$log" 2>&1 || {
		tail -n 30 "$log" >&2
		die "'${*:0:1} ${*:1:3} ...' failed; all of its output: $log"
	}
}

# room MIB PATH: stop early when the disk cannot hold what comes next.
room()
{
	local have
	have=$(df -Pm "$2" | awk 'NR == 2 { print $4 }')
	[ "$have" -ge "$1" ] ||
		die "needs $1 MiB of disk under $2, $have MiB are free; make room and start again"
}

# The versions, archives and sums of the series that are built.
pins()
{
	local linux=${LINUX_SERIES:-} qemu=${QEMU_SERIES:-}
	. "$ROOT/scripts/versions"
	# shellcheck source=/dev/null
	[ "${linux:-$LINUX_SERIES}" = "$LINUX_SERIES" ] || . "$ROOT/patches/linux-$linux/version"
	# shellcheck source=/dev/null
	[ "${qemu:-$QEMU_SERIES}" = "$QEMU_SERIES" ] || . "$ROOT/patches/qemu-$qemu/version"
}

# The mirrors of Debian and of its security updates that this machine is set up for.
mirrors()
{
	local found main security
	# shellcheck disable=SC2016  # for apt-get
	found=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' "Origin: Debian")
	main=$(awk '$1 == "Debian" { print $2; exit }' <<<"$found")
	security=$(awk '$1 == "Debian-Security" { print $2; exit }' <<<"$found")
	[ -n "$main" ] ||
		die "apt knows no Debian mirror: run 'apt-get update' as root and start again"
	say "$main" "${security:-${main%/debian*}/debian-security/}"
}
