#!/usr/bin/env bash
# Installs the servers that stand in for AWS in tests: moto (needs Python 3.9 and pip) and ElasticMQ (needs Java 17 and Maven),
# pinned, into .tools/standins. Does nothing if they are there. Ends with 1 and one line if something is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$PWD/.tools/standins
stamp=$(cat tools/standins/requirements.txt tools/standins/pom.xml tools/standins.sh | sha256sum | cut -d' ' -f1)
mkdir -p "$dir"
exec 9>"$dir/.lock"; flock 9
[ "$(cat "$dir/stamp" 2>/dev/null || true)" = "$stamp" ] && exit 0
for need in python3 java mvn; do
	command -v "$need" >/dev/null || { echo "install the AWS stand-ins: $need is missing; install Python 3, a Java 17 runtime and Maven" >&2; exit 1; }
done
echo "installing moto and ElasticMQ into .tools/standins (a minute) ..." >&2
rm -rf "$dir/venv" "$dir/elasticmq"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check -r tools/standins/requirements.txt
mvn -q -B -f tools/standins/pom.xml dependency:copy-dependencies -DoutputDirectory="$dir/elasticmq" >/dev/null
echo "$stamp" >"$dir/stamp"
