#!/usr/bin/env bash
# Prints the packages that have files behind a build tag, one a line: what `go test -tags TAG` is for.
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files --cached --others --exclude-standard '*_test.go' | xargs grep -lE "^//go:build .*\b$1\b" | xargs -n1 dirname | sort -u | sed 's|^|./|'
