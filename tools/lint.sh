#!/usr/bin/env bash
# Lints code and contracts. Prints what is wrong and ends with 1; silent otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/build.sh buf protoc-gen-go protoc-gen-go-grpc protoc-gen-grpc-gateway protoc-gen-openapiv2 golangci-lint
modules=(. gen platform services/ingest services/scheduler services/scanner services/correlator services/reporter services/gateway)

echo "contracts: lint, format, breaking"
.tools/bin/buf lint
.tools/bin/buf format -d --exit-code --path proto/riskprofiler
# The contracts must not break those of the main branch: of the commit before, where this is the main branch.
base=""
for ref in origin/main main HEAD~1; do
	if git cat-file -e "$ref:buf.yaml" 2>/dev/null && [ "$(git rev-parse "$ref")" != "$(git rev-parse HEAD)" ]; then base=$ref; break; fi
done
if [ -n "$base" ] && [ -z "${RISKPROFILER_BREAKING_OK:-}" ]; then
	.tools/bin/buf breaking --against ".git#ref=$(git rev-parse "$base")"
fi

echo "generated code is current"
# Beside the tree, which others may be compiling at this moment.
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
.tools/bin/buf generate -o "$fresh"
for generated in riskprofiler openapi; do
	diff -rq "$fresh/gen/$generated" "gen/$generated" || { echo "run make gen and commit the result" >&2; exit 1; }
done

echo "modules are tidy"
for m in "${modules[@]}" tools; do
	(cd "$m" && GOWORK=off go mod tidy -diff) || { echo "run make tidy and commit the result" >&2; exit 1; }
done

echo "go: format, vet, lint"
unformatted=$(gofmt -l $(git ls-files '*.go' | grep -v '^gen/'))
[ -z "$unformatted" ] || { echo "not formatted: $unformatted" >&2; exit 1; }
packages=()
for m in "${modules[@]}"; do [ "$m" = gen ] && continue; [ "$m" = . ] && packages+=(./...) || packages+=("./$m/..."); done
# golangci-lint's govet sees everything, the tests that need servers included; what it does not see are the files without those
# tags, which `make alone` vets, and the drivers of AWS as the default list.
go build -tags aws -o /dev/null ./services/ingest/cmd/ingest
.tools/bin/golangci-lint run --allow-parallel-runners --build-tags awstest,realservers "${packages[@]}"
for m in deploy tools/image; do
	(cd "$m" && GOWORK=off go mod tidy -diff && GOWORK=off go vet ./... && GOWORK=off "$OLDPWD/.tools/bin/golangci-lint" run --allow-parallel-runners ./...) || exit 1
done
