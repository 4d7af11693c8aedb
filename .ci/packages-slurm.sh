#!/bin/sh
# What tests/test_slurm.py needs beyond requirements.lock: Debian's Slurm and the plugins of
# Snakemake, in build/extras-slurm. Does what it can; without it these tests skip with a reason.
cd "$(dirname "$0")/.." || exit 0

if [ "${CI:-}" = true ] && ! command -v slurmctld > /dev/null && [ "$(id -u)" = 0 ] &&
    command -v apt-get > /dev/null; then
    (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        slurm-wlm munge) > /dev/null 2>&1 || echo 'packages-slurm: no Slurm from apt-get' >&2
fi

if [ -x .venv/bin/python ] && [ ! -d build/extras-slurm/snakemake_executor_plugin_slurm ]; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/extras-slurm \
        snakemake-executor-plugin-slurm==2.8.0 snakemake-executor-plugin-slurm-jobstep==0.6.1 \
        snakemake-executor-plugin-cluster-generic==1.0.9 throttler==1.2.3 \
        || echo 'packages-slurm: no plugins from pip' >&2
fi
exit 0
