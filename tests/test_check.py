"""`t3vae check` on a tree of results whose provenance is written here by hand."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from base64 import urlsafe_b64encode
from html import escape
from pathlib import Path

import numpy as np
import pytest
from copies import CHECKOUT, change

from t3vae.provenance import digests
from t3vae.runtime import files, layout
from t3vae.runtime.scratch import Scratch
from t3vae.settings import parameters
from t3vae.workflow import check, plan_files
from t3vae.workflow.plan import Job, Plan

RUN = ("univariate_smoke", "t3vae_nu9", 0)


def png(provenance: str) -> bytes:
    """One black pixel with a text."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    text = chunk(b"tEXt", b"t3vae:provenance\0" + provenance.encode("latin-1"))
    body = chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + text + body


def make(root: Path, job: Job) -> None:
    """Write the outputs of a job as its stage would, with nothing in them but provenance."""
    inputs = {path: digests.file_digest(root / path) for path in job.inputs}
    made = digests.provenance(job.verb, job.config, inputs, job.uses)
    text = digests.canonical_json(made)
    for path in job.outputs:
        files.write_text(root / path, f"{job.label}\n")
    witness = root / job.witness
    if job.verb == "train":
        files.write_json(root / job.outputs[1], dict(job.config))
    if job.verb == "sample":
        files.write_tensors(witness, {"samples/prior": np.zeros(3)}, {"provenance": text})
    elif job.verb == "figure":
        files.write_bytes(witness, png(text))
    elif job.verb == "report":
        files.write_text(witness, f'<meta name="t3vae:provenance" content="{escape(text)}">')
    else:
        files.write_json(witness, {"provenance": made, "config": dict(job.config)})
    for path in job.outputs:
        record = root / ".snakemake/metadata" / urlsafe_b64encode(path.encode()).decode()
        files.write_text(record, "{}")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    shutil.copy(CHECKOUT / "params.yaml", root / "params.yaml")
    change(root, {"suite": "smoke"})
    plan = Plan(parameters.load(root / "params.yaml"))
    for job in plan.jobs():
        make(root, job)
    plan_files.write(root, plan)
    return root


@pytest.fixture
def tree(finished, tmp_path) -> Path:
    shutil.copytree(finished, tmp_path / "root")
    return tmp_path / "root"


def findings(tree: Path, **options) -> list[check.Finding]:
    return check.examine(tree, Plan(parameters.load(tree / "params.yaml")), **options)


def kinds(found: list[check.Finding]) -> dict[str, set[str]]:
    result: dict[str, set[str]] = {}
    for finding in found:
        result.setdefault(finding.kind, set()).add(finding.path)
    return result


def test_all_is_well(tree, capsys):
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    assert check.run(tree, tree / "params.yaml", records=True) == 0
    assert "0 stale, 0 missing, 0 orphaned, 0 unrecorded" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*")} == before


def test_missing_result(tree, capsys):
    path = layout.metrics(*RUN)
    (tree / path).unlink()
    (found,) = findings(tree)
    assert found.kind == "missing" and found.path == path
    assert "evaluate univariate_smoke t3vae_nu9 0" in found.reason
    assert check.run(tree, tree / "params.yaml") == 1
    assert f"missing    {path}: " in capsys.readouterr().out


def test_missing_job_is_one_line(tree):
    shutil.rmtree(tree / layout.run_dir(*RUN))
    (found,) = findings(tree)
    assert "3 more" in found.reason


def test_changed_setting_names_it_and_what_follows(tree):
    change(tree, {"models.t3vae_nu9.nu": 10.0})
    found = findings(tree)
    assert set(kinds(found)) == {"stale"}
    reasons = {finding.path: finding.reason for finding in found}
    trained = layout.run_file(*RUN, "provenance.json")
    assert reasons[trained] == "settings changed: model.nu 9.0 -> 10.0"
    model = layout.run_file(*RUN, "model.safetensors")
    assert reasons[layout.samples(*RUN)] == f"follows {model}"
    assert layout.metrics(*RUN) in reasons and layout.report() in reasons
    assert layout.table("univariate_smoke", "provenance.json") in reasons
    assert not [path for path in reasons if "/vae/" in path or "constants" in path]


def test_changed_colour_concerns_figures(tree):
    change(tree, {"figures.colours": {"vae": "#123456"}})
    stale = kinds(findings(tree))["stale"]
    assert layout.figure("univariate_smoke", "density", "png") in stale
    assert all(path.startswith(("results/figures", "results/report")) for path in stale)


def test_changed_input(tree):
    path = layout.run_file(*RUN, "model.safetensors")
    (tree / path).write_text("other weights")
    reasons = {finding.path: finding.reason for finding in findings(tree)}
    assert reasons[layout.samples(*RUN)] == f"{path} changed"
    assert layout.run_file(*RUN, "provenance.json") not in reasons


def test_changed_code(tree):
    path = tree / layout.metrics(*RUN)
    content = json.loads(path.read_text())
    content["provenance"]["sources"] = "0" * 16
    files.write_json(path, content)
    reasons = {finding.path: finding.reason for finding in findings(tree)}
    assert reasons[layout.metrics(*RUN)] == "its code changed"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (layout.metrics(*RUN), "{not json"),
        (layout.metrics(*RUN), "[]"),
        (layout.metrics(*RUN), '{"metrics": []}'),
        (layout.samples(*RUN), "cut"),
        (layout.figure("constants", "regularizer", "png"), "no image"),
        (layout.report(), "<html></html>"),
    ],
)
def test_damaged_result_is_stale(tree, path, content):
    (tree / path).write_text(content)
    assert path in kinds(findings(tree))["stale"]


def test_orphans_and_prune(tree, capsys):
    change(tree, {"experiments.univariate_smoke.seeds": [0]})
    orphans = kinds(findings(tree))["orphaned"]
    gone = {
        path
        for model in ("vae", "t3vae_nu9")
        for run in [("univariate_smoke", model, 1)]
        for path in (
            *(layout.run_file(*run, name) for name in layout.RUN_FILES),
            layout.samples(*run),
            layout.metrics(*run),
        )
    }
    assert orphans == gone
    check.run(tree, tree / "params.yaml", prune=True)
    assert "moved to scratch/retired/results/" in capsys.readouterr().out
    for path in gone:
        assert not (tree / path).exists()
        assert (tree / "scratch/retired" / path).is_file()
    assert not (tree / layout.run_dir("univariate_smoke", "vae", 1)).exists()
    assert "orphaned" not in kinds(findings(tree))


def test_prune_removes_states_that_no_training_needs(tree, capsys):
    """Those of settings that nobody has and of results that are recorded; no others."""
    plan = Plan(parameters.load(tree / "params.yaml"))
    names = ("t3vae_nu9", "vae")
    jobs = {(m, seed): plan.train(RUN[0], m, seed) for m in names for seed in (0, 1)}
    states = {
        run: tree
        / layout.scratch(digests.digest(files.read_json(tree / job.witness)["provenance"]))
        for run, job in jobs.items()
    }
    unknown, at_work = (tree / layout.scratch(name * 16) for name in "ab")
    for folder in (*states.values(), unknown, at_work):
        files.write_text(folder / "state.safetensors", "x")

    def record(path: str) -> Path:
        return Path(".snakemake/metadata") / urlsafe_b64encode(path.encode()).decode()

    shutil.rmtree(tree / layout.run_dir(RUN[0], "vae", 0))  # not trained, or lost
    (tree / record(jobs["vae", 1].outputs[0])).unlink()  # Snakemake knows nothing of it
    begun = record(jobs["t3vae_nu9", 1].outputs[0])
    files.write_text(tree / ".snakemake/incomplete" / begun.name, "")  # being trained once more
    with Scratch(at_work, "b").lock():
        check.run(tree, tree / "params.yaml")
        assert "removed" not in capsys.readouterr().out and unknown.exists()
        check.run(tree, tree / "params.yaml", prune=True)
        said = [line for line in capsys.readouterr().out.splitlines() if "removed" in line]
        assert at_work.exists()
    gone = {unknown, states["t3vae_nu9", 0]}
    assert {tree / line.partition(":")[0] for line in said} == gone
    assert {folder for folder in (*states.values(), unknown) if not folder.exists()} == gone


def test_prune_never_overwrites(tree):
    path = "results/metrics/old/vae/seed0.json"
    for text in ("first", "second"):
        files.write_text(tree / path, text)
        dict(check.prune_orphans(tree, [path]))
    kept = sorted(p.read_text() for p in (tree / "scratch/retired").rglob("seed0.json"))
    assert kept == ["first", "second"]


def test_results_of_other_suites_are_no_orphans(tree):
    other = layout.metrics("univariate_paper", "vae", 4)
    files.write_text(tree / other, "{}")
    files.write_text(tree / layout.metrics("univariate_paper", "vae", 5), "{}")
    assert kinds(findings(tree)) == {
        "orphaned": {layout.metrics("univariate_paper", "vae", 5)},
    }


def test_hidden_files_are_no_results(tree):
    files.write_text(tree / "results/.gitignore", "/runs")
    files.write_text(tree / "results/tables/.gitignore", "x")
    assert findings(tree) == []


def test_records(tree):
    path = layout.samples(*RUN)
    (tree / ".snakemake/metadata" / urlsafe_b64encode(path.encode()).decode()).unlink()
    assert findings(tree) == []
    (found,) = findings(tree, records=True)
    assert found.kind == "unrecorded" and found.path == path
    assert "dvc checkout .snakemake/metadata" in found.reason


def test_a_plan_file_of_other_parameters(tree, capsys):
    """DVC would take results under it for those of the parameters that it describes."""
    path = tree / layout.plan_file("train")
    plan = files.read_json(path)
    plan["train univariate_smoke t3vae_nu9 0"]["config"] = "0" * 16
    files.write_json(path, plan)
    assert findings(tree) == []
    (found,) = findings(tree, records=True)
    assert found.kind == "stale" and found.path == "plan/train.json"
    assert "`t3vae plan` writes it" in found.reason
    (tree / layout.plan_file("report")).unlink()
    assert check.run(tree, tree / "params.yaml", records=True) == 1
    assert "2 stale" in capsys.readouterr().out
    plan_files.write(tree, Plan(parameters.load(tree / "params.yaml")))
    assert findings(tree, records=True) == []
