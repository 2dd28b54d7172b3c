#!/usr/bin/env bash
# Installs the servers that stand in for AWS in tests: moto (needs Python 3.9 and pip), ElasticMQ (needs Java 17 and Maven) and the
# other interpreter of state machines (needs Node 20 and npm), pinned, into .tools/standins. Does nothing if they are there. Ends with 1 and one line if something is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$PWD/.tools/standins
stamp=$(cat tools/standins/requirements.txt tools/standins/pom.xml tools/standins/asl/package-lock.json tools/standins.sh | sha256sum | cut -d' ' -f1)
mkdir -p "$dir"
exec 9>"$dir/.lock"; flock 9
[ "$(cat "$dir/stamp" 2>/dev/null || true)" = "$stamp" ] && exit 0
for need in python3 java mvn node npm; do
	command -v "$need" >/dev/null || { echo "install the AWS stand-ins: $need is missing; install Python 3, a Java 17 runtime, Maven and Node 20" >&2; exit 1; }
done
echo "installing moto, ElasticMQ and aws-local-stepfunctions into .tools/standins (a minute) ..." >&2
rm -rf "$dir/venv" "$dir/elasticmq" "$dir/asl"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check -r tools/standins/requirements.txt
mvn -q -B -f tools/standins/pom.xml dependency:copy-dependencies -DoutputDirectory="$dir/elasticmq" >/dev/null
mkdir -p "$dir/asl"
cp tools/standins/asl/package.json tools/standins/asl/package-lock.json "$dir/asl/"
# The interpreter declares Node 22 and runs on 20 with what oracle.cjs adds. No package's own scripts are run.
npm ci --prefix "$dir/asl" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
echo "$stamp" >"$dir/stamp"
