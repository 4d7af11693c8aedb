"""Plan files: what the jobs of each DVC stage are made from, so that DVC sees what changed for it.

A file of a stage maps the label of each job to digests of its configuration, its code and the
names of its files. DVC skips a stage whose plan file and inputs are as before, whatever else
changed in ``params.yaml`` or the source.
"""

from __future__ import annotations

from pathlib import Path

from t3vae.errors import DataError
from t3vae.provenance import digests
from t3vae.runtime import files, layout
from t3vae.workflow.plan import Plan

__all__ = ["STAGES", "contents", "outdated", "write"]

#: The stages of ``dvc.yaml`` after ``data``, and the steps that belong to them.
STAGES = {
    "train": ("train",),
    "sample": ("sample",),
    "evaluate": ("evaluate",),
    "report": ("collect", "figure", "report"),
}

Content = dict[str, dict[str, str]]


def contents(plan: Plan) -> dict[str, Content]:
    """Return the content of every plan file by its path."""
    found: dict[str, Content] = {}
    for stage, verbs in STAGES.items():
        found[layout.plan_file(stage)] = {
            job.label: {
                "config": digests.digest(job.json),
                "code": job.code,
                "files": digests.digest([job.inputs, job.arrays, job.outputs]),
            }
            for job in plan.jobs()
            if job.verb in verbs
        }
    return found


def outdated(root: Path, plan: Plan) -> dict[str, Content]:
    """Return the content of the plan files below ``root`` that are missing or of another plan."""
    wanted = contents(plan)
    return {path: wanted[path] for path in wanted if _stored(root, path) != wanted[path]}


def write(root: Path, plan: Plan) -> None:
    """Write the plan files below ``root``; one that is up to date stays untouched.

    Raises:
        DataError: the folder cannot be written.
    """
    for path, content in outdated(root, plan).items():
        files.write_json(layout.under(root, path), content)


def _stored(root: Path, path: str) -> object:
    try:
        return files.read_json(layout.under(root, path))
    except DataError:
        return None
