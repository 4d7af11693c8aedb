"""DVC over Snakemake: never silently wrong. Real git, dvc and snakemake, in copies."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
import yaml
from copies import CHECKOUT, append, change
from dvc_repository import (
    EXPERIMENT,
    clone,
    commit,
    nothing_to_do,
    ran,
    run,
    small_repository,
    stages,
    width,
)

from t3vae.runtime import files, layout
from t3vae.settings import parameters
from t3vae.tables.headlines import SUMMARY
from t3vae.workflow import plan_files
from t3vae.workflow.plan import Plan

pytestmark = pytest.mark.workflow

RECORDS = ".snakemake/metadata"
STAGES = ["data", "train", "sample", "evaluate", "report"]
TERMINAL = 120  # columns
NU = "models.t3vae_nu9.nu"
RUN = [f"{verb} {EXPERIMENT} t3vae_nu9 seed 0" for verb in ("train", "sample", "evaluate")]
AFTER_NU = sorted([*RUN, f"collect {EXPERIMENT}", f"figure {EXPERIMENT} history", "report"])
EVERYTHING = sorted([*AFTER_NU, *(job.replace("t3vae_nu9", "vae") for job in RUN)])
EVERYTHING = sorted([*EVERYTHING, f"prepare {EXPERIMENT}"])


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A repository whose suite `dvc repro` has made, committed and pushed to a folder."""
    folder = small_repository(tmp_path_factory.mktemp("dvc") / "finished")
    run(folder, "dvc", "remote", "add", "--quiet", "--default", "store", "../store")
    text = run(folder, "dvc", "repro")
    assert ran(text) == EVERYTHING
    assert "suite demo: 10 jobs in all; data and results take about 3 MB" in text
    commit(folder, "results")
    run(folder, "dvc", "push", "--quiet")
    return folder


@pytest.fixture(scope="session")
def pulled(finished) -> Path:
    """A fresh clone with what was pulled into it."""
    folder = clone(finished, finished.parent / "pulled")
    run(folder, "dvc", "pull", "--quiet")
    return folder


@pytest.fixture(scope="session")
def branched(pulled) -> Path:
    """A clone with a branch `nu12`, on which `dvc repro` ran after one nu was changed."""
    folder = pulled.parent / "branched"
    shutil.copytree(pulled, folder)
    run(folder, "git", "checkout", "--quiet", "-b", "nu12")
    edit_nu(folder, 12.0)
    (folder / "repro.log").write_text(run(folder, "dvc", "repro"), encoding="utf-8")
    return folder


@pytest.fixture
def copy(pulled, tmp_path) -> Path:
    """A copy of the clone, to be changed."""
    shutil.copytree(pulled, tmp_path / "copy")
    shutil.copytree(pulled.parent / "store", tmp_path / "store")
    return tmp_path / "copy"


def edit_nu(folder: Path, nu: float) -> None:
    change(folder, {NU: nu})


def metrics(folder: Path, model: str) -> dict[str, float]:
    """The headline numbers of a model."""
    return json.loads((folder / layout.headline(EXPERIMENT, model)).read_text())


def refused(folder: Path, *arguments: str, **more: str) -> str:
    """Run `dvc repro`, which must fail, run no job and leave the lock as it is."""
    before = (folder / "dvc.lock").read_bytes()
    text = run(folder, "dvc", "repro", *arguments, status=None, **more)
    assert ran(text) == []
    assert (folder / "dvc.lock").read_bytes() == before
    return text


# --- what dvc.yaml says -------------------------------------------------------------------


def test_every_result_and_the_records_belong_to_one_stage():
    described = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text())["stages"]
    assert list(described) == STAGES
    outs = [dict(out) for stage in described.values() for out in stage["outs"]]
    folders = {path: options for out in outs for path, options in out.items()}
    assert all(options["persist"] for options in folders.values()) and RECORDS in folders
    for path in Plan(parameters.load(CHECKOUT / "params.yaml")).all_outputs():
        assert sum(path == out or path.startswith(f"{out}/") for out in folders) == 1, path


def test_data_depends_on_everything_and_later_stages_on_their_plan():
    """Parameters and code enter `data`, whose plan files pass on what concerns each stage."""
    described = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text())["stages"]
    workflow = {"Snakefile", "rules"}
    assert set(described["data"]["deps"]) == workflow | {"src/t3vae", "params.yaml"}
    made = {path for stage in described.values() for out in stage["outs"] for path in out}
    assert "plan" in {path for out in described["data"]["outs"] for path in out}
    assert list(plan_files.STAGES) == STAGES[1:]
    for name in STAGES[1:]:
        deps = set(described[name]["deps"])
        plans = {path for path in deps if path.startswith("plan/")}
        assert workflow < deps and plans == {layout.plan_file(name)}
        assert deps - workflow - plans <= made and "params" not in described[name]


def test_no_credentials_in_the_committed_settings():
    text = (CHECKOUT / ".dvc/config").read_text()
    for line in ('type = "reflink,copy"', "autostage = true", "analytics = false"):
        assert line in text
    for word in ("password", "secret", "access_key", "token", "keyfile", "user ="):
        assert word not in text


# --- clones -------------------------------------------------------------------------------


def test_a_clone_is_up_to_date_after_pull(pulled):
    assert nothing_to_do(pulled)
    assert "up to date" in run(pulled, "dvc", "repro")
    assert "0 unrecorded" in run(pulled, "python", "-m", "t3vae", "check", "--records", **src())
    assert run(pulled, "git", "status", "--porcelain") == ""


def src() -> dict[str, str]:
    return {"PYTHONPATH": "src"}


def locked(folder: Path, stage: str) -> dict[str, str]:
    """Checksums of what a stage in `dvc.lock` was made from."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {entry["path"]: entry["md5"] for entry in lock[stage]["deps"]}


def test_the_lock_is_short_whatever_the_suite(finished):
    """It names folders and plan files, never a parameter but the suite."""
    text = (finished / "dvc.lock").read_text()
    assert len(text.splitlines()) <= 300
    lock = yaml.safe_load(text)["stages"]
    assert lock["data"]["params"] == {"params.yaml": {"suite": "demo"}}
    assert all("params" not in lock[stage] for stage in STAGES[1:])
    paths = {out["path"] for stage in lock.values() for out in stage["outs"]}
    assert not any(EXPERIMENT in path for path in paths)


def test_pulled_results_are_those_that_were_pushed(finished, pulled):
    for folder in ("data", "plan", "results", RECORDS):
        for path in (finished / folder).rglob("*"):
            if path.is_file():
                relative = path.relative_to(finished)
                assert (pulled / relative).read_bytes() == path.read_bytes(), relative


def test_git_holds_tables_and_figures_and_no_large_file(pulled):
    tracked = run(pulled, "git", "ls-files", "results", "data", "plan", ".snakemake").split()
    kinds = {"/".join(path.split("/")[:2]) for path in tracked}
    assert kinds == {"results/tables", "results/figures"}
    assert all((pulled / path).stat().st_size < 1_000_000 for path in tracked)


def test_a_clone_without_pull_makes_everything(finished, tmp_path):
    assert ran(run(clone(finished, tmp_path / "clone"), "snakemake", "-n")) == EVERYTHING


# --- changes ------------------------------------------------------------------------------


def test_one_nu_reruns_its_model_and_what_follows(branched):
    text = (branched / "repro.log").read_text(encoding="utf-8")
    assert ran(text) == AFTER_NU
    assert stages(text) == STAGES
    assert nothing_to_do(branched)


def test_what_concerns_no_job_runs_data_alone(copy):
    """A comment in the parameters, a value that no job uses, a comment in the code."""
    change(copy, {"suites.unused": ["constants"]})
    append(copy / "params.yaml", "# a comment")
    append(copy / "src/t3vae/training/loop.py", "# a comment")
    before = yaml.safe_load((copy / "dvc.lock").read_text())["stages"]
    text = run(copy, "dvc", "repro")
    assert ran(text) == [] and stages(text) == ["data"]
    for stage in STAGES[1:]:
        assert f"Stage '{stage}' didn't change, skipping" in text
    after = yaml.safe_load((copy / "dvc.lock").read_text())["stages"]
    assert [stage for stage in STAGES if after[stage] != before[stage]] == ["data"]
    assert after["data"]["outs"] == before["data"]["outs"]
    assert nothing_to_do(copy)


def test_stages_before_a_change_are_skipped(copy):
    change(copy, {f"experiments.{EXPERIMENT}.figures": ["history", "metrics"]})
    text = run(copy, "dvc", "repro")
    figures = [f"figure {EXPERIMENT} {name}" for name in ("history", "metrics")]
    assert ran(text) == [f"collect {EXPERIMENT}", *figures, "report"]
    assert stages(text) == ["data", "report"]
    assert nothing_to_do(copy)


def test_snakemake_alone_makes_the_same_and_dvc_commits_it(copy, branched):
    edit_nu(copy, 12.0)
    assert ran(run(copy, "snakemake", "-j2")) == AFTER_NU
    assert "modified" in run(copy, "dvc", "status")
    run(copy, "python", "-m", "t3vae", "check", "--records", **src())
    run(copy, "dvc", "commit", "--force", "--quiet")
    assert nothing_to_do(copy)
    # of the new plan, or the way back would skip stages whose results are of this one
    for stage in STAGES[1:]:
        path = layout.plan_file(stage)
        assert (copy / path).read_bytes() == (branched / path).read_bytes()
        assert locked(copy, stage)[path] == locked(branched, stage)[path]
    for folder in ("results/samples", "results/metrics", "results/tables", "results/figures"):
        for path in (branched / folder).rglob("*"):
            if path.is_file():
                relative = path.relative_to(branched)
                assert (copy / relative).read_bytes() == path.read_bytes(), relative


def test_branches(branched, pulled, tmp_path):
    folder = tmp_path / "branches"
    shutil.copytree(branched, folder)
    (folder / "repro.log").unlink()
    commit(folder, "nu 12")
    for branch, origin in (("main", pulled), ("nu12", branched)):
        run(folder, "git", "checkout", "--quiet", branch)
        run(folder, "dvc", "checkout", "--quiet")
        assert nothing_to_do(folder)
        for path in (layout.metrics(EXPERIMENT, "t3vae_nu9", 0), layout.report()):
            assert (folder / path).read_bytes() == (origin / path).read_bytes()


def test_compiled_files_change_nothing(copy):
    for path in list((copy / "src").rglob("__pycache__")):
        shutil.rmtree(path)
    assert "up to date" in run(copy, "dvc", "status")
    run(copy, "python", "-m", "compileall", "-q", "src/t3vae")
    (copy / "rules/__pycache__").mkdir()
    (copy / "rules/__pycache__/left.pyc").write_bytes(b"left by another Python")
    assert nothing_to_do(copy)


def test_reading_differences(branched):
    shown = run(branched, "dvc", "metrics", "show", "--md")
    rows = [line for line in shown.splitlines() if line.startswith("| results/")]
    assert [row.split("|")[1].strip() for row in rows] == [
        layout.headline(EXPERIMENT, model) for model in ("t3vae_nu9", "vae")
    ]
    columns = [cell.strip() for cell in shown.splitlines()[0].split("|")[1:-1]]
    assert columns == ["Path", "ks", "loglik", "tail"]
    changed = json.loads(run(branched, "dvc", "metrics", "diff", "--json"))
    assert list(changed) == [layout.headline(EXPERIMENT, "t3vae_nu9")]
    moved = changed[layout.headline(EXPERIMENT, "t3vae_nu9")]["loglik"]
    assert moved["old"] != moved["new"]
    params = json.loads(run(branched, "dvc", "params", "diff", "--json"))
    assert params == {"params.yaml": {NU: {"old": 9.0, "new": 12.0, "diff": 3.0}}}
    for command in ("metrics show", "metrics diff", "params diff"):
        assert width(run(branched, "dvc", *command.split())) <= TERMINAL, command
    plots = json.loads(run(branched, "dvc", "plots", "diff", "--json"))
    assert "errors" not in plots
    path = f"results/tables/histories/{EXPERIMENT}.csv"
    assert list(plots["data"]) == [path]
    (plot,) = plots["data"][path]
    assert sorted(plot["revisions"]) == ["HEAD", "workspace"]
    content = plot["content"]
    assert content["encoding"]["color"]["field"] == "model"
    points = content["data"]["values"]
    losses = {
        (point["rev"], point["model"], point["epoch"]): point["validation_loss"] for point in points
    }
    assert len(losses) == len(points) == 2 * 2 * 3
    assert losses["HEAD", "vae", "3"] == losses["workspace", "vae", "3"]
    assert losses["HEAD", "t3vae_nu9", "3"] != losses["workspace", "t3vae_nu9", "3"]


# --- experiments and suites ---------------------------------------------------------------


def test_experiment_in_a_folder_of_its_own(copy, branched):
    """It has other metrics where it must, the same where not, and those of the branch."""
    before = metrics(copy, "vae"), metrics(copy, "t3vae_nu9")
    text = run(copy, "dvc", "exp", "run", "--temp", "-S", f"{NU}=12", "--name", "wide")
    assert ran(text) == AFTER_NU
    assert (metrics(copy, "vae"), metrics(copy, "t3vae_nu9")) == before
    assert run(copy, "git", "status", "--porcelain") == ""
    changed = json.loads(run(copy, "dvc", "metrics", "diff", "--all", "--json", "HEAD", "wide"))
    for model, same in (("vae", True), ("t3vae_nu9", False)):
        values = changed[layout.headline(EXPERIMENT, model)]
        assert {name: value["old"] for name, value in values.items()} == metrics(copy, model)
        assert {name: value["new"] for name, value in values.items()} == metrics(branched, model)
        assert (metrics(copy, model) == metrics(branched, model)) == same
    table = run(copy, "dvc", "exp", "show", "--csv", "--only-changed")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["Experiment"] for row in rows] == ["", "", "wide"]
    assert [float(row[NU]) for row in rows] == [9.0, 9.0, 12.0]
    assert len(rows[0]) < 40
    for command, columns in documented_shows():
        shown = run(copy, *command)
        assert width(shown) <= TERMINAL, command
        head = next(line for line in shown.splitlines() if "Experiment" in line)
        assert head.split() == ["Experiment", *columns], command
        assert any("[wide]" in line and "12" in line.split() for line in shown.splitlines())
    run(copy, "dvc", "exp", "apply", "wide")
    assert nothing_to_do(copy)
    assert metrics(copy, "t3vae_nu9") == metrics(branched, "t3vae_nu9")


def documented_shows() -> list[tuple[list[str], list[str]]]:
    """The commands `dvc exp show` of docs/dvc.md for this repository, and the columns they show."""
    text = (CHECKOUT / "docs/dvc.md").read_text(encoding="utf-8")
    found = re.findall(r"^dvc exp show .*?(?=\s*#|$)", text, flags=re.MULTILINE)
    assert len(found) == 2
    number = f"{layout.headline(EXPERIMENT, 't3vae_nu9')}:ks"
    return list(zip(map(shlex.split, found), ([NU], [number, NU]), strict=True))


def test_every_suite_fits_a_terminal(tmp_path):
    """One row a model, side by side for all suites of the parameters, with the longest numbers."""
    shutil.copytree(
        CHECKOUT / ".dvc", tmp_path / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache")
    )
    shutil.copy(CHECKOUT / "dvc.yaml", tmp_path)
    run(tmp_path, "git", "init", "--quiet")
    loaded = parameters.load(CHECKOUT / "params.yaml")
    models = [(name, m) for name, e in loaded.experiments.items() for m in e.models or ()]
    numbers = {key: -123.46 if i % 2 else -0.01234 for i, (key, _) in enumerate(SUMMARY)}
    for experiment, model in models:
        files.write_json(layout.under(tmp_path, layout.headline(experiment, model)), numbers)
    shown = run(tmp_path, "dvc", "metrics", "show")
    assert len(shown.strip().splitlines()) == 1 + len(models) > 100
    assert width(shown) <= TERMINAL


def test_two_suites_side_by_side(copy):
    """An experiment records its suite; the way back makes the report anew and nothing else."""
    before = {path: path.read_bytes() for path in sorted((copy / "results").glob("*/*/*/*.*"))}
    assert before
    text = run(copy, "dvc", "exp", "run", "-S", "suite=smoke", "--name", "theory")
    theory = ["collect constants", "figure constants tau_alpha", "prepare constants", "report"]
    assert ran(text) == theory
    lock = yaml.safe_load((copy / "dvc.lock").read_text())["stages"]
    assert lock["data"]["params"] == {"params.yaml": {"suite": "smoke"}}
    assert {path: path.read_bytes() for path in before} == before
    change(copy, {"suite": "demo"})
    text = run(copy, "dvc", "repro", SNAKEMAKE_ARGS="-j1 --config device=cpu")
    assert stages(text) == STAGES
    assert ran(text) == ["report"]
    assert nothing_to_do(copy)
    assert (copy / layout.table("constants", "tau_alpha.csv")).is_file()


@pytest.mark.parametrize(
    "arguments",
    [
        "--config suite=smoke under_dvc=0",
        "-j1 --config under_dvc=1 --config suite=smoke",
        "--configfile other.yaml",
    ],
)
def test_overrides_are_refused_under_dvc(copy, arguments):
    shutil.copy(copy / "params.yaml", copy / "other.yaml")
    text = refused(copy, "--force", "--single-item", "data", SNAKEMAKE_ARGS=f"-j1 {arguments}")
    assert "not allowed under DVC" in text and "Traceback" not in text


# --- records that are gone ----------------------------------------------------------------


@pytest.fixture
def unrecorded(copy) -> Path:
    """A copy of the clone whose Snakemake records were deleted."""
    shutil.rmtree(copy / RECORDS)
    return copy


def test_every_stage_refuses_results_without_records(unrecorded):
    for stage in STAGES:
        text = refused(unrecorded, "--force", "--single-item", stage)
        assert f"dvc checkout {RECORDS}" in text and "Snakemake has no record of" in text
        assert len(text.splitlines()) < 12 and "Traceback" not in text
    assert f"dvc checkout {RECORDS}" in refused(unrecorded)  # as a user would, nothing changed
    run(unrecorded, "dvc", "checkout", RECORDS)
    assert nothing_to_do(unrecorded)


def test_the_check_after_the_jobs_would_refuse_them_too(unrecorded):
    command = ("python", "-m", "t3vae", "check", "--records", "--verb", "train")
    text = run(unrecorded, *command, status=1, **src())
    assert f"dvc checkout {RECORDS}" in text and "8 unrecorded" in text
    assert len([line for line in text.splitlines() if line.startswith("unrecorded")]) == 4


def test_without_records_and_with_another_nu(unrecorded):
    edit_nu(unrecorded, 12.0)
    assert f"dvc checkout {RECORDS}" in refused(unrecorded)
    run(unrecorded, "dvc", "checkout", RECORDS)
    assert ran(run(unrecorded, "snakemake", "-n")) == AFTER_NU


@pytest.mark.parametrize("compiled", [True, False])
def test_without_records_after_a_comment(unrecorded, compiled):
    append(unrecorded / "src/t3vae/training/loop.py", "# a comment")
    for path in list((unrecorded / "src").rglob("__pycache__")):
        shutil.rmtree(path)
    if compiled:
        run(unrecorded, "python", "-m", "compileall", "-q", "src/t3vae")
    more = {} if compiled else {"PYTHONDONTWRITEBYTECODE": "1"}
    assert f"dvc checkout {RECORDS}" in refused(unrecorded, **more)
    assert compiled == bool(list((unrecorded / "src").rglob("*.pyc")))


def test_results_of_a_killed_run_are_made_again(copy):
    """They have no record, but Snakemake knows that they are unfinished."""
    path = layout.run_file(EXPERIMENT, "vae", 0, "model.safetensors")
    name = urlsafe_b64encode(path.encode()).decode()
    (copy / ".snakemake/incomplete").mkdir(exist_ok=True)
    (copy / RECORDS / name).rename(copy / ".snakemake/incomplete" / name)
    text = run(copy, "dvc", "repro", "--force", "--single-item", "train")
    assert ran(text) == [f"train {EXPERIMENT} vae seed 0"]
