#!/usr/bin/env bash
# Builds the pinned tools of tools/go.mod into .tools/bin at the repository root.
#
#   tools/build.sh               every tool
#   tools/build.sh buf benchstat only the named ones
#   tools/build.sh --list        the names
#
# A tool is built again only when the pins (go.mod, go.sum) or the Go toolchain
# changed since it was last built; otherwise the script says nothing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
bin=$root/.tools/bin
stamps=$root/.tools/stamps

# tools/ is not part of the workspace, and a developer's cross-compiling
# settings must not reach tools that run on this machine.
unset GOOS GOARCH
export GOWORK=off CGO_ENABLED=0

# The tool directives are the list; a tool's name is the end of its path.
packages=$(awk '/^tool \(/ {inside = 1; next} inside && /^\)/ {exit} inside {print $1}' "$here/go.mod")

package_of() {
	local package
	for package in $packages; do
		if [[ ${package##*/} == "$1" ]]; then
			echo "$package"
			return
		fi
	done
	echo "tools/build.sh: no tool named '$1' in tools/go.mod" >&2
	return 2
}

if [[ ${1:-} == --list ]]; then
	for package in $packages; do echo "${package##*/}"; done
	exit
fi

if (($# > 0)); then
	names=("$@")
else
	names=()
	for package in $packages; do names+=("${package##*/}"); done
fi

digest() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d' ' -f1; }
want=$({ cat "$here/go.mod" "$here/go.sum"; go -C "$here" env GOVERSION GOOS GOARCH; } | digest)

mkdir -p "$bin" "$stamps"
if command -v flock >/dev/null; then
	exec 9>"$root/.tools/lock"
	flock 9 # two callers at once: the second one finds the work done
fi

for name in "${names[@]}"; do
	package=$(package_of "$name")
	if [[ -x $bin/$name && $(cat "$stamps/$name" 2>/dev/null || true) == "$want" ]]; then
		continue
	fi
	echo "tools/build.sh: building $name" >&2
	# Built beside and then renamed, so that nobody runs half a binary.
	go -C "$here" build -mod=readonly -trimpath -ldflags='-s -w' -o "$bin/.$name.new" "$package"
	mv -f "$bin/.$name.new" "$bin/$name"
	echo "$want" >"$stamps/$name"
done
