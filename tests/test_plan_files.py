"""Plan files name every job of the stages after `data` and change with what those are made of."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from copies import CHECKOUT, append, call, change, copy_code

from t3vae.runtime import files
from t3vae.settings import parameters
from t3vae.workflow import plan_files
from t3vae.workflow.plan import Plan

RUN = "univariate_smoke t3vae_nu9"


def load(folder: Path) -> Plan:
    return Plan(parameters.load(folder / "params.yaml"))


@pytest.fixture
def folder(tmp_path) -> Path:
    shutil.copy(CHECKOUT / "params.yaml", tmp_path)
    change(tmp_path, {"suite": "smoke"})
    return tmp_path


def changed(folder: Path, values: dict) -> dict[str, set[str]]:
    """Labels of the jobs that differ after a change of the parameters, by plan file."""
    before = plan_files.contents(load(folder))
    change(folder, values)
    after = plan_files.contents(load(folder))
    found = {}
    for path in before:
        labels = {*before[path], *after[path]}
        found[path] = {n for n in labels if before[path].get(n) != after[path].get(n)}
    return {path: labels for path, labels in found.items() if labels}


def test_every_job_after_data_is_in_one_plan_file():
    plan = load(CHECKOUT)
    labels = [label for content in plan_files.contents(plan).values() for label in content]
    wanted = [job.label for job in plan.jobs() if job.verb not in ("prepare", "extractor")]
    assert sorted(labels) == sorted(wanted) and len(set(labels)) == len(labels)


def test_one_nu_changes_its_runs(folder):
    found = changed(folder, {"models.t3vae_nu9.nu": 12.0})
    assert found["plan/train.json"] == {f"train {RUN} {seed}" for seed in (0, 1)}
    for stage in ("sample", "evaluate"):  # their configurations name the run, which they read
        assert found.get(f"plan/{stage}.json", set()) <= {f"{stage} {RUN} {s}" for s in (0, 1)}
    # a look follows the parameter, so that figures with the model are drawn anew
    drawn = found["plan/report.json"] - {"report"}
    assert "report" in found["plan/report.json"]
    assert drawn and all(label.startswith("figure univariate_smoke ") for label in drawn)


def test_what_no_job_uses_changes_nothing(folder):
    with open(folder / "params.yaml", "a", encoding="utf-8") as stream:
        stream.write("# a comment\n")
    assert changed(folder, {"suites.unused": ["constants"]}) == {}


def test_another_list_of_figures_leaves_the_runs(folder):
    found = changed(folder, {"experiments.univariate_smoke.figures": ["history"]})
    assert list(found) == ["plan/report.json"]
    assert "report" in found["plan/report.json"]


def test_code_counts_and_comments_do_not(tmp_path):
    folder = copy_code(tmp_path / "copy")
    change(folder, {"suite": "smoke"})
    source = folder / "src/t3vae/metrics/hill.py"

    def written() -> dict[str, object]:
        done = call(folder, "t3vae", "plan")
        assert done.returncode == 0, done.stderr
        return {path.name: files.read_json(path) for path in sorted((folder / "plan").iterdir())}

    before = written()
    assert sorted(before) == ["evaluate.json", "report.json", "sample.json", "train.json"]
    times = {path: path.stat().st_mtime_ns for path in (folder / "plan").iterdir()}
    append(source, "# a comment")
    assert written() == before
    assert {path: path.stat().st_mtime_ns for path in times} == times
    append(source, "CHANGED = 1")
    after = written()
    assert [name for name in after if after[name] != before[name]] == ["evaluate.json"]
