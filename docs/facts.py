"""Numbers in the documentation that the code knows: `make docs` writes them, a test compares.

A page marks them as ``<!-- facts: NAME -->`` ... ``<!-- end -->``.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from t3vae.settings import parameters, reference_page
from t3vae.workflow import disk
from t3vae.workflow.plan import Plan

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/scaling.md")
ON_A_CLUSTER = ("prepare", "extractor", "train", "sample", "evaluate")


def suites() -> str:
    """Return the table of suites: trainings, jobs, outputs, bytes."""
    lines = [
        "| suite | trainings | all jobs | on a cluster | outputs | data and results |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in ("smoke", "demo", "paper"):
        plan = Plan(parameters.load(ROOT / "params.yaml", {"suite": name}))
        verbs = Counter(job.verb for job in plan.jobs())
        cells = [
            verbs["train"],
            verbs.total(),
            sum(verbs[verb] for verb in ON_A_CLUSTER),
            sum(len(job.outputs) for job in plan.jobs()),
        ]
        size = disk.expected_bytes(plan) / 1e9
        shown = f"{size:.2f}" if size < 0.1 else f"{size:.1f}" if size < 10 else f"{size:.0f}"
        lines.append(
            f"| {name} | {' | '.join(f'{n:,}'.replace(',', ' ') for n in cells)} | {shown} GB |"
        )
    return "\n".join(lines)


FACTS = {"suites": suites}


def written(page: str) -> str:
    """Return the text of a page with its facts as they are now."""

    def fill(match: re.Match[str]) -> str:
        return f"<!-- facts: {match[1]} -->\n{FACTS[match[1]]()}\n<!-- end -->"

    text = (ROOT / page).read_text(encoding="utf-8")
    return re.sub(r"<!-- facts: (\w+) -->\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


if __name__ == "__main__":
    for name in PAGES:
        (ROOT / name).write_text(written(name), encoding="utf-8")
    (ROOT / "docs/parameters.md").write_text(reference_page.page(), encoding="utf-8")
