"""Which jobs a change reruns. Every workflow here runs in a copy, never in the checkout."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from copies import PARTS, append, call, change, copy_code, edit, jobs

from t3vae.settings import parameters
from t3vae.workflow import disk
from t3vae.workflow.plan import Plan

EXPERIMENT = "univariate_smoke"


def runs(model: str, *verbs: str, seed: int = 0) -> set[str]:
    """The jobs of one run, of all verbs by default."""
    every = verbs or ("train", "sample", "evaluate")
    return {f"{verb} {EXPERIMENT} {model} seed {seed}" for verb in every}


FIGURES = {f"figure {EXPERIMENT} density", f"figure {EXPERIMENT} history"}
GATHERED = {f"collect {EXPERIMENT}", "report"} | FIGURES
THEORY = {"prepare constants", "collect constants", "figure constants tau_alpha"}
EVERYTHING = {f"prepare {EXPERIMENT}"} | runs("vae") | runs("t3vae_nu9") | GATHERED | THEORY
EDITED = "EDITED = True"


def small_copy(target: Path) -> Path:
    """A copy of the code whose suite is a small part of the smoke suite."""
    copy_code(target)
    experiment = f"experiments.{EXPERIMENT}"
    small = {
        "suite": "smoke",
        "suites.smoke": ["constants", EXPERIMENT],
        f"{experiment}.models": ["vae", "t3vae_nu9"],
        f"{experiment}.seeds": [0],
        f"{experiment}.figures": ["density", "history"],
        "experiments.constants.figures": ["tau_alpha"],
    }
    change(target, small)
    return target


@pytest.fixture(scope="session")
def untouched(tmp_path_factory) -> Path:
    """A copy in which nothing has run."""
    return small_copy(tmp_path_factory.mktemp("workflow") / "untouched")


@pytest.fixture(scope="session")
def finished(untouched) -> Path:
    """A copy in which the whole suite has run, where no accelerator is to be had."""
    folder = untouched.parent / "finished"
    shutil.copytree(untouched, folder)
    done = call(folder, "snakemake", "-j2", "--config", "device=cpu", "--resources", "gpu=0")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the finished one, to be changed."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def fresh(untouched, tmp_path) -> Path:
    """A copy of the untouched one, to be changed."""
    shutil.copytree(untouched, tmp_path / "fresh")
    return tmp_path / "fresh"


# --- a finished run -----------------------------------------------------------------------


def test_nothing_to_do_after_a_finished_run(finished):
    assert jobs(finished) == set()


def test_other_device_reruns_nothing(finished):
    assert jobs(finished, "--config", "device=cuda") == set()


def test_check_finds_all_well(finished):
    done = call(finished, "t3vae", "check", "--records")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 stale, 0 missing, 0 orphaned, 0 unrecorded" in done.stdout


def test_every_job_leaves_a_log_with_what_it_took(finished):
    logs = [path for path in (finished / "logs").rglob("*.log") if path.is_file()]
    assert len(logs) == len(EVERYTHING)
    for path in logs:
        *_, last = path.read_text(encoding="utf-8").splitlines()
        assert re.fullmatch(
            r"t3vae: \w+: \d+\.\d CPU seconds in \d+\.\d s, at most \d+ MiB of memory", last
        )


def test_results_name_no_folder(finished):
    for path in (finished / "results").rglob("*"):
        if path.is_file():
            assert str(finished).encode() not in path.read_bytes(), path


def test_expected_size_is_about_right(fresh):
    """Samples and data make up nearly all of a larger run; here they are counted by hand."""
    change(fresh, {"suite": "demo", "suites.demo": ["bivariate"]})
    plan = Plan(parameters.load(fresh / "params.yaml"))
    runs, samples, encoded, rows = 4 * 3, 3 * 500_000 * (2 + 1), 200_000, 900_000 * 2
    expected = 4 * (rows + runs * (samples + encoded))
    assert expected <= disk.expected_bytes(plan) <= 1.1 * expected
    assert f"take about {expected / 1e9:.1f} GB" in disk.start_message(plan, fresh)


# --- changes of parameters ----------------------------------------------------------------


def test_nu_of_one_model(copy):
    change(copy, {"models.t3vae_nu9.nu": 9.5})
    assert jobs(copy) == runs("t3vae_nu9") | GATHERED


def test_parameters_that_no_job_uses(copy):
    change(copy, {"models.t3vae_nu12.nu": 12.5, "training.bivariate.epochs": 7})
    append(copy / "params.yaml", "# a comment")
    assert jobs(copy) == set()


def test_parameters_of_sampling(copy):
    change(copy, {"sampling.smoke.reconstructions": 100})
    later = runs("vae", "sample", "evaluate") | runs("t3vae_nu9", "sample", "evaluate")
    assert jobs(copy) == later | GATHERED


def test_parameters_of_a_data_set(copy):
    change(copy, {f"datasets.{EXPERIMENT}.seeds.train": 11})
    assert jobs(copy) == EVERYTHING - THEORY


def test_colour(copy):
    change(copy, {"figures.colours": {"vae": "#112233"}})
    assert jobs(copy) == FIGURES | {"report"}


def test_caption(copy):
    edit(copy / "src/t3vae/settings/figures.py", "Densities of generated data", "All densities")
    assert jobs(copy) == {"report"}


def test_new_seed(copy):
    change(copy, {f"experiments.{EXPERIMENT}.seeds": [0, 7]})
    assert jobs(copy) == runs("vae", seed=7) | runs("t3vae_nu9", seed=7) | GATHERED


# --- changes of code ----------------------------------------------------------------------


def test_comments_and_docstrings(copy):
    changed = 0
    for path in (copy / "src").rglob("*.py"):
        append(path, '"""A string alone."""  # and a comment')
        text = path.read_text(encoding="utf-8")
        if text.startswith('"""'):
            path.write_text('"""Another first line. ' + text[3:], encoding="utf-8")
            changed += 1
    assert changed > 30
    assert jobs(copy) == set()


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("maths/divergence", runs("t3vae_nu9") | GATHERED),
        ("metrics/tail", runs("vae", "evaluate") | runs("t3vae_nu9", "evaluate") | GATHERED),
        ("datasets/theory", THEORY | {"report"}),
        ("figures/history", {f"figure {EXPERIMENT} history", "report"}),
    ],
)
def test_code_reruns_what_uses_it(copy, module, expected):
    append(copy / f"src/t3vae/{module}.py", EDITED)
    assert jobs(copy) == expected


def test_code_that_no_result_depends_on(copy):
    for module in (
        *("models/student_t_vae", "cli", "settings/config", "errors"),
        *("runtime/progress", "runtime/layout", "workflow/check", "workflow/jobs"),
    ):
        append(copy / f"src/t3vae/{module}.py", EDITED)
    assert jobs(copy) == set()


def test_new_model_reruns_nothing(copy):
    source = copy / "src/t3vae"
    (source / "models/new.py").write_text("class New: ...\n", encoding="utf-8")
    old = "FAMILIES: dict[str, ModelFamily] = {\n"
    entry = '    "new": ModelFamily("t3vae.models.new:New", T3Vae, "New", 12, "o"),\n'
    edit(source / "settings/families.py", old, old + entry)
    append(source / "cli.py", "@cli.command()\ndef extra() -> None:\n    'Do nothing.'")
    assert jobs(copy) == set()


def test_new_parameter_of_another_verb_reruns_no_training(copy):
    declared = '    fit: LatentFit = field("Fit of the distribution `fitted`.")\n'
    new = declared + '    extra: Count = field("Another.", 1)\n'
    edit(copy / "src/t3vae/settings/config.py", declared, new)
    later = runs("vae", "sample", "evaluate") | runs("t3vae_nu9", "sample", "evaluate")
    assert jobs(copy) == later | GATHERED


def test_code_in_a_copy_is_what_runs_there(untouched, fresh):
    append(fresh / "src/t3vae/stages/prepare.py", 'print("edited here")')
    manifest = "data/prepared/constants/manifest.json"
    plain = fresh.parent / "plain"
    shutil.copytree(untouched, plain)
    sources = {}
    for folder in (plain, fresh):
        done = call(folder, "snakemake", "-j1", manifest)
        assert done.returncode == 0, done.stdout + done.stderr
        sources[folder] = json.loads((folder / manifest).read_text())["provenance"]["sources"]
    assert sources[fresh] != sources[plain]
    assert "edited here" in (fresh / "logs/prepare/constants.log").read_text()
    assert "edited here" not in (plain / "logs/prepare/constants.log").read_text()


OWN_MODEL = '''
from pydantic import BaseModel
from t3vae.maths.distributions import DiagonalGaussian
from t3vae.models.vae import VAE

class WideVAE(VAE):
    """A VAE whose prior has a width of its own."""

    class Config(BaseModel):
        width: float = 1.0

    def __init__(self, data_dim, latent_dim, *, width, **parts):
        super().__init__(data_dim, latent_dim, **parts)
        self.width = width

    def hyperparameters(self):
        return {"width": self.width}

    def prior(self):
        return DiagonalGaussian(self._zeros(), self.width)
'''


def test_model_from_outside_the_package(copy):
    """A model of one's own is one file and one entry in params.yaml."""
    (copy / "my_models.py").write_text(OWN_MODEL, encoding="utf-8")
    models = f"experiments.{EXPERIMENT}.models"
    entry = {"family": "my_models:WideVAE", "width": 2.0}
    change(copy, {"models.wide_vae": entry, models: ["vae", "t3vae_nu9", "wide_vae"]})
    assert jobs(copy) == runs("wide_vae") | GATHERED
    metrics = f"results/metrics/{EXPERIMENT}/wide_vae/seed0.json"
    done = call(copy, "snakemake", "-j1", metrics)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((copy / metrics).read_text())["metrics"]
    assert {"ks", "log_likelihood"} <= {entry["name"] for entry in found}
    edit(copy / "my_models.py", "self.width = width", "self.width = 1.0 * width")
    assert jobs(copy) == runs("wide_vae") | GATHERED


# --- clones, suites and places ------------------------------------------------------------


def git(folder: Path, *arguments: str) -> None:
    name = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True)


def test_clone_with_committed_figures_remakes_everything(copy, tmp_path):
    git(copy, "init", "--quiet")
    git(copy, "add", "--all")
    git(copy, "commit", "--quiet", "--message", "results")
    git(tmp_path, "clone", "--quiet", str(copy), "clone")
    clone = tmp_path / "clone"
    assert {path.name for path in clone.iterdir()} == {*PARTS, "results", ".git"}
    assert {path.name for path in (clone / "results").iterdir()} == {"tables", "figures"}
    assert jobs(clone) == EVERYTHING
    change(clone, {"models.t3vae_nu9.nu": 9.5})
    assert jobs(clone) == EVERYTHING


def test_suite_from_the_command_line(untouched):
    listed = jobs(untouched, "--config", "suite=demo")
    assert "train bivariate t3vae_nu30 seed 2" in listed
    assert len({job for job in listed if job.startswith("train")}) == 33 + 78
    assert "extractor digits_lt" in listed
    assert not {job for job in listed if EXPERIMENT in job}


@pytest.mark.parametrize("options", [(), ("--configfile", "params.yaml")])
def test_other_directory(untouched, tmp_path, options):
    place = ("--directory", str(tmp_path / "build/smoke"))
    assert jobs(untouched, *place, *options, "--config", "suite=smoke") == EVERYTHING
    assert not (untouched / "results").exists()


def test_gpu_is_a_token_of_gpu_runs(fresh):
    target = f"results/runs/{EXPERIMENT}/vae/seed0/model.safetensors"
    arguments = ("-j1", "--config", "device=cuda", "--resources", "gpu=0", "--", target)
    done = call(fresh, "snakemake", *arguments)
    assert done.returncode != 0 and "gpu" in done.stdout + done.stderr
    assert not (fresh / "results").exists()


def test_lint(untouched):
    done = call(untouched, "snakemake", "--lint")
    assert done.returncode == 0, done.stdout + done.stderr


# --- mistakes -----------------------------------------------------------------------------


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {"__pycache__", ".snakemake"} & set(path.parts)
    }


@pytest.mark.parametrize("options", [("-n",), ("--configfile", "params.yaml")])
def test_all_mistakes_at_once_and_nothing_written(fresh, options):
    sigma = f"experiments.{EXPERIMENT}.sigma"
    change(fresh, {"models.t3vae_nu9.nu": 1.5, "devise": "auto", sigma: -0.1})
    before = tree(fresh)
    done = call(fresh, "snakemake", "-j1", *options)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    for mistake in ("models.t3vae_nu9.nu = 1.5", "devise", sigma):
        assert mistake in done.stderr
    assert tree(fresh) == before


@pytest.mark.parametrize("text", [b"", b"suite: \xff\n"])
def test_unreadable_parameters(fresh, text):
    (fresh / "params.yaml").write_bytes(text)
    done = call(fresh, "snakemake", "-n")
    assert done.returncode == 2 and "params.yaml" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("override", ["suite=nonsense", "sede=1"])
def test_mistake_on_the_command_line(untouched, override):
    done = call(untouched, "snakemake", "-n", "--config", override)
    assert done.returncode == 2 and override.partition("=")[0] in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_broken_source_is_readable(fresh):
    append(fresh / "src/t3vae/maths/divergence.py", "def broken(:")
    done = call(fresh, "snakemake", "-n")
    assert done.returncode == 2 and "divergence.py" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
