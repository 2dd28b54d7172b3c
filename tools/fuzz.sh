#!/usr/bin/env bash
# Runs every fuzz target of the repository for FUZZTIME (60s unless set), FUZZJOBS at a time (24), each with one worker. A target
# that finds something prints the input, which `go test` then repeats from testdata/fuzz. With names it runs only these.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${FUZZTIME:-60s} jobs=${FUZZJOBS:-24}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# targets prints "directory name" of every fuzz target: the repository is the list.
targets() {
	git ls-files --cached --others --exclude-standard '*_test.go' | while read -r f; do
		[ -f "$f" ] && sed -n "s|^func \(Fuzz[A-Za-z0-9_]*\)(f \*testing\.F).*|$(dirname "$f") \1|p" "$f"
	done | sort -u
}

# one runs one target; its binary has been built with the fuzzer's instrumentation.
one() {
	local dir=$1 name=$2 package
	package=$(echo "$dir" | tr / _)
	local binary=$work/$package.test log=$work/$package.$name.log
	# What it keeps is its own: targets of one name in several packages would read each other's files, half written.
	local cache=$work/cache/$package
	if (cd "$dir" && "$binary" -test.run '^$' -test.fuzz "^$name\$" -test.fuzztime "$time" -test.fuzzminimizetime 100x -test.parallel 1 -test.fuzzcachedir "$cache") >"$log" 2>&1; then
		printf 'ok    %-55s %s\n' "$dir $name" "$(grep -o 'execs: [0-9]*' "$log" | tail -1)"
	elif grep -q 'context deadline exceeded' "$log" && ! grep -qE 'Failing input|panic|fatal' "$log"; then
		# The end of its time came while the fuzzer waited for its worker: https://github.com/golang/go/issues/75804
		printf 'ok    %-55s %s (ended late)\n' "$dir $name" "$(grep -o 'execs: [0-9]*' "$log" | tail -1)"
	else
		printf 'FAIL  %s %s\n' "$dir" "$name"
		sed 's/^/      /' "$log" | tail -40
		return 1
	fi
}
export -f one
export work time

targets >"$work/targets"
if [ $# -eq 0 ]; then cp "$work/targets" "$work/chosen"; fi
for name in "$@"; do
	grep -E " $name\$" "$work/targets" >>"$work/chosen" || { echo "there is no fuzz target $name" >&2; exit 2; }
done
cut -d' ' -f1 "$work/chosen" | sort -u | xargs -P 2 -I{} bash -c 'go test -c -fuzz=. -o "$work/$(echo "$1" | tr / _).test" "./$1"' _ {}
echo "$(wc -l <"$work/chosen") targets for $time each, $jobs at a time"
xargs -P "$jobs" -L1 bash -c 'one "$0" "$1"' <"$work/chosen"
