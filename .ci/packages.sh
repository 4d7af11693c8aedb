#!/bin/sh
# Parts that some tests need and skip without: an SSH server, Slurm, an S3 server, DVC's remotes.
# Nothing here may stop continuous integration: what cannot be had is left out.
# Python packages go to build/extras (only those that .venv lacks), so that .venv stays as locked.
cd "$(dirname "$0")/.." || exit 0
PYTHON=${PYTHON:-.venv/bin/python}
EXTRAS=build/extras

if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    missing=
    command -v sshd > /dev/null || [ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
    command -v slurmctld > /dev/null || [ -x /usr/sbin/slurmctld ] || missing="$missing slurm-wlm munge"
    for package in $missing; do
        apt-get install -y --no-install-recommends "$package" > /dev/null 2>&1 ||
            { apt-get update > /dev/null 2>&1 &&
                apt-get install -y --no-install-recommends "$package" > /dev/null 2>&1; } ||
            echo "packages.sh: no $package; its tests skip"
    done
fi

[ -x "$PYTHON" ] || { echo "packages.sh: no $PYTHON; run \`make venv\` first"; exit 0; }
stamp="$EXTRAS/installed-$(cksum < requirements.lock | tr ' ' '-')"
if [ ! -e "$stamp" ]; then
    rm -rf "$EXTRAS"
    mkdir -p "$EXTRAS"
    # pip keeps what .venv has and lists what is new; a list that would replace a package is refused.
    "$PYTHON" -m pip install --quiet --dry-run --report "$EXTRAS/report.json" \
        'moto[server]' dvc-s3 dvc-ssh > "$EXTRAS/pip.log" 2>&1 &&
        "$PYTHON" -c 'import importlib.metadata, json, sys
have = {d.name.lower().replace("_", "-") for d in importlib.metadata.distributions()}
for item in json.load(open(sys.argv[1]))["install"]:
    name = item["metadata"]["name"]
    if name.lower().replace("_", "-") in have:
        sys.exit(f"would replace {name}")
    print(name + "==" + item["metadata"]["version"])' "$EXTRAS/report.json" \
            > "$EXTRAS/new.txt" 2>> "$EXTRAS/pip.log" &&
        "$PYTHON" -m pip install --quiet --no-deps --target "$EXTRAS" -r "$EXTRAS/new.txt" \
            >> "$EXTRAS/pip.log" 2>&1 &&
        touch "$stamp" || echo "packages.sh: no moto, dvc-s3 or dvc-ssh (see $EXTRAS/pip.log); their tests skip"
fi
exit 0
