"""The configuration of every job of every suite, against a recorded list of digests.

The list was made with the parameters before `like`, `grid` and defaults, so that it shows that
the short file means what the long one said. Where a configuration is meant to change, write the
list anew, look at which jobs differ, and say so in the commit:

    PYTHONPATH=src python tests/test_job_configs.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t3vae.provenance import digests
from t3vae.settings import parameters
from t3vae.workflow.plan import Plan

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tests/data/job_configs.json"
# What is only shown: it is no part of what a job computes.
LOOKS = ("looks", "labels", "captions")


def configurations() -> Iterator[tuple[str, str, Any]]:
    """Yield job, seed (empty for a job without one) and configuration, of all suites."""
    for suite in parameters.load(ROOT / "params.yaml").suites:
        plan = Plan(parameters.load(ROOT / "params.yaml", {"suite": suite}))
        for job in plan.jobs():
            names = [str(name) for key, name in job.names.items() if key != "seed"]
            of_suite = [suite] if job.verb == "report" else []
            config = {k: v for k, v in json.loads(job.json).items() if k not in LOOKS}
            yield " ".join([job.verb, *names, *of_suite]), str(job.names.get("seed", "")), config


def found() -> dict[str, dict[str, str]]:
    """Return the digest of every configuration, by job and seed."""
    listed: dict[str, dict[str, str]] = {}
    for name, seed, config in configurations():
        digest = digests.digest(config)
        assert listed.setdefault(name, {}).setdefault(seed, digest) == digest, (name, seed)
    return listed


def test_every_job_has_the_recorded_configuration() -> None:
    recorded, listed = json.loads(LIST.read_text(encoding="utf-8")), found()
    assert sorted(listed) == sorted(recorded)
    assert [name for name in recorded if recorded[name] != listed[name]] == []


def write(path: Path) -> None:
    """Write the list, a job a line."""
    lines = [f"{json.dumps(name)}:{json.dumps(seeds)}" for name, seeds in sorted(found().items())]
    path.parent.mkdir(exist_ok=True)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    write(LIST)
