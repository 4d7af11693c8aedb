"""`like`, `grid` and defaults: what they give, where each value comes from, what is refused."""

from __future__ import annotations

import re
import shutil
from itertools import pairwise
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from click.testing import CliRunner
from dvc.utils.hydra import apply_overrides

from t3vae.cli import cli
from t3vae.errors import ConfigError
from t3vae.settings import parameters
from t3vae.settings.expand import Expansion
from t3vae.settings.explain import explain
from t3vae.workflow.plan import Plan

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")


def with_more(folder: Path, **sections: str) -> Path:
    """The file of the project with more blocks at the start of some sections."""
    text = TEXT
    for section, blocks in sections.items():
        more = "".join(f"  {line}\n" for line in dedent(blocks).strip().splitlines())
        text = text.replace(f"\n{section}:", f"\n{section}:\n{more.rstrip()}", 1)
        text = re.sub(rf"(\n{section}:) *#[^\n]*", r"\1", text)
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parameters.load(path)
    return [re.sub(r"^.*params\.yaml:", "", text) for text in caught.value.problems]


def line(path: Path, text: str) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(i for i, each in enumerate(lines, start=1) if text in each)


# --- like ---------------------------------------------------------------------------------


def test_like_takes_a_block_and_changes_keys():
    """Nested blocks merge, lists and other values are replaced, at any depth of `like`."""
    blocks = {
        "a": {"samples": 5, "fit": {"points": 7, "levels": [1, 2]}},
        "b": {"like": "a", "fit": {"levels": [3]}},
        "c": {"like": "b", "samples": 6, "fit": {"points": 8}},
        "d": {"like": "c", "fit": None},
    }
    found = Expansion({"sampling": blocks}).values["sampling"]
    assert found["b"] == {"samples": 5, "fit": {"points": 7, "levels": [3]}}
    assert found["c"] == {"samples": 6, "fit": {"points": 8, "levels": [3]}}
    assert found["d"] == {"samples": 6, "fit": None}
    assert blocks["b"] == {"like": "a", "fit": {"levels": [3]}}  # what was given stays


@pytest.mark.parametrize("section", ["training", "sampling", "networks", "extractors"])
def test_a_long_chain_in_either_order(section):
    names = [f"x{i}" for i in range(2000)]
    chain = {name: {"like": before} for before, name in pairwise(names)}
    for blocks in ({"x0": {"a": 1}, **chain}, {**dict(reversed(chain.items())), "x0": {"a": 1}}):
        assert Expansion({section: blocks}).values[section]["x1999"] == {"a": 1}


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("x: {like: digts}", "training.x.like = digts: not in `training`. Did you mean digits?"),
        ("x: {like: 3}", "training.x.like = 3: must be the name of a block in `training`."),
        ("x: {like: x}", "training.x.like = x: a circle, x -> x. Write the keys of one of"),
        (
            "z: {like: yy}\nyy: {like: w}\nw: {like: z}\nv: {like: w}",
            "training.w.like = z: a circle, w -> z -> yy -> w. Write the keys of one of them out.",
        ),
        ("x: {like: [digits]}", 'training.x.like = ["digits"]: must be the name of a block'),
    ],
)
def test_a_wrong_like_is_one_problem_at_its_line(tmp_path, block, expected):
    path = with_more(tmp_path, training=block)
    (problem,) = problems(path)
    named = expected.split(".")[1]
    assert problem.startswith(f"{line(path, f'  {named}: {{like')}: {expected}")


def test_a_mistake_is_told_where_it_is_written(tmp_path):
    """Once, although four blocks take the value; and with both places where only one suffers."""
    path = with_more(tmp_path, training="x: {like: digits}\nyy: {like: x}\nz: {like: yy}")
    text = path.read_text(encoding="utf-8").replace("learning_rate: 2.0e-3", "learning_rate: -2.0")
    path.write_text(text, encoding="utf-8")
    (problem,) = problems(path)
    number = line(path, "learning_rate: -2.0")
    assert problem.startswith(f"{number}: training.digits.learning_rate = -2.0: must be greater")
    path = with_more(
        tmp_path,
        experiments="x: {like: univariate, figures: [density]}\nyy: {like: x, dataset: bivariate}",
    )
    (problem,) = problems(path)
    expected = (
        "experiments.yy.figures[0] = density (from experiments.x): cannot show data of source"
    )
    assert problem.startswith(f"{line(path, 'figures: [density]')}: {expected}")


def test_a_key_that_is_missing_everywhere_is_told_once(tmp_path):
    path = with_more(tmp_path, training="x: {epochs: 3, patience: 3, batch_size: 8}\nyy: {like: x}")
    (problem,) = problems(path)
    assert problem.startswith(f"{line(path, '  x: ')}: training.x.learning_rate: is missing")


# --- grid ---------------------------------------------------------------------------------


def test_a_grid_makes_a_model_of_each_value():
    entry = {"family": "t3vae", "grid": {"nu": [5, 2.5], "beta": [0.1, 1.0]}}
    assert Expansion({"models": {"t3vae": entry}}).values["models"] == {
        "t3vae_nu5_beta0p1": {"family": "t3vae", "nu": 5, "beta": 0.1},
        "t3vae_nu5_beta1": {"family": "t3vae", "nu": 5, "beta": 1.0},
        "t3vae_nu2p5_beta0p1": {"family": "t3vae", "nu": 2.5, "beta": 0.1},
        "t3vae_nu2p5_beta1": {"family": "t3vae", "nu": 2.5, "beta": 1.0},
    }


def test_a_block_changes_a_member_and_a_member_can_be_taken():
    models = {
        "t3vae_nu9": {"nu": 12.0},
        "t3vae": {"family": "t3vae", "grid": {"nu": [5.0, 9.0]}},
        "wide": {"like": "t3vae_nu9", "beta": 2.0},
        "other": {"like": "t3vae", "nu": 7.0},
    }
    assert Expansion({"models": models}).values["models"] == {
        "t3vae_nu9": {"family": "t3vae", "nu": 12.0},
        "t3vae_nu5": {"family": "t3vae", "nu": 5.0},
        "wide": {"family": "t3vae", "nu": 12.0, "beta": 2.0},
        "other": {"family": "t3vae", "nu": 7.0},
    }


def test_an_experiment_names_an_entry_for_all_its_members(tmp_path):
    path = with_more(
        tmp_path,
        experiments="""
        x: {like: univariate, models: [t3vae_nu9, gaussian_twin, t3vae, vae]}
        yy: {like: univariate, models: [t3vae, vaee]}
        """,
    )
    (problem,) = problems(path)
    assert "experiments.yy.models[1] = vaee: not a known model. Did you mean vae?" in problem
    path = with_more(tmp_path, experiments="x: {like: univariate, models: [t3vae_nu9, t3vae]}")
    models = parameters.load(path).experiments["x"].models
    assert models[:3] == ["t3vae_nu9", "t3vae_nu2p5", "t3vae_nu5"] and len(models) == 13


@pytest.mark.parametrize(
    ("entry", "place", "message"),
    [
        ("{family: vae, grid: 5}", "x.grid = 5", "must be a block of lists. Write it as"),
        ("{family: vae, grid: {}}", "x.grid = {}", "must be a block of lists. Write it as"),
        ("{family: vae, grid: {beta: 0.1}}", "x.grid", "must be a block of lists. Write it as"),
        ("{family: vae, grid: {beta: []}}", "x.grid", "must be a block of lists. Write it as"),
        (
            "{family: vae, grid: {beta: [0.1, 0.10]}}",
            "x.grid.beta[1] = 0.1",
            "makes `x_beta0p1`, once more. Change the values, or `pattern`.",
        ),
        (
            "{family: vae, grid: {beta: [[0.1]]}}",
            "x.grid.beta[0] = [0.1]",
            "which is no name of a model. Change the values",
        ),
        (
            "{family: vae, grid: {beta: [0.1]}, pattern: '{name}'}",
            "x.grid.beta[0] = 0.1",
            "makes `x`, once more. Change the values, or `pattern`.",
        ),
        (
            "{family: vae, grid: {beta: [0.1]}, pattern: {}}",
            "x.pattern = {}",
            "must be text such as '{name}_beta{beta}'.",
        ),
        ("{family: t3vae, grid: {nu: [5, 1.5]}}", "x.grid.nu[1] = 1.5", "must be greater than 2"),
        ("{family: t3va, grid: {nu: [5, 9]}}", "x.family = t3va", "must be one of vae, "),
        ("{grid: {nu: [5, 9]}}", "x.family", "is missing. Add family: one of"),
        (
            f"{{family: t3vae, grid: {{nu: {list(range(3, 53))}, beta: {list(range(1, 22))}}}}}",
            "x.grid",
            "makes more than 1000 models. Write fewer values.",
        ),
    ],
)
def test_a_wrong_grid_is_one_problem_at_its_line(tmp_path, entry, place, message):
    path = with_more(tmp_path, models=f"x: {entry}")
    (problem,) = problems(path)
    assert problem.startswith(f"{line(path, '  x: ')}: models.{place}: ")
    assert message in problem


def test_grid_and_pattern_mean_something_in_models_only(tmp_path):
    (problem,) = problems(with_more(tmp_path, training="x: {like: digits, grid: {epochs: [1]}}"))
    assert "training.x.grid: unknown key." in problem
    (problem,) = problems(with_more(tmp_path, models="x: {family: vae, pattern: '{name}'}"))
    assert "models.x.pattern = {name}: unknown key." in problem


# --- overrides ----------------------------------------------------------------------------


def test_overrides_are_merged_before_anything_is_expanded():
    given = {
        "models": {"t3vae": {"grid": {"nu": ["7", "8"]}}, "t3vae_nu8": {"nu": "8.5"}},
        "training": {"univariate": {"epochs": "7"}},
        "experiments": {"univariate": {"models": ["t3vae"]}},
        "suites": {"demo": ["univariate"]},
    }
    with pytest.raises(ConfigError, match="t3vae_nu10: not a known model"):
        parameters.load(ROOT / "params.yaml", given)  # other experiments name old members
    given["models"]["t3vae"]["grid"]["nu"] = [
        7,
        8,
        2.5,
        5,
        9,
        10,
        12,
        15,
        18,
        21,
        30,
        40,
        50,
        60,
        70,
    ]
    params = parameters.load(ROOT / "params.yaml", given)
    assert params.models["t3vae_nu8"].nu == 8.5 and params.models["t3vae_nu7"].nu == 7.0
    assert [params.training[name].epochs for name in ("univariate", "bivariate", "smoke")] == [
        7,
        7,
        3,
    ]
    assert len(params.experiments["univariate"].models) == 15
    with pytest.raises(ConfigError) as caught:
        parameters.load(ROOT / "params.yaml", {"models": {"t3vae_nu9": {"nu": 1.0}}})
    (problem,) = caught.value.problems
    assert problem.startswith("--config: models.t3vae_nu9.nu = 1.0: must be greater than 2")


@pytest.mark.parametrize(
    ("override", "nu"),
    [
        ("+models.t3vae_nu9.nu=12", {"t3vae_nu9": 12.0, "t3vae_nu5": 5.0}),
        ("models.t3vae.grid.nu=[2.5,5,9,10,12,15,18,21,30,40,50,60,70,80]", {"t3vae_nu80": 80.0}),
        ("models.beta_vae_matched.nu=8", {"beta_vae_matched_scaled": 8.0}),
        ("+experiments.x={like: univariate, models: [t3vae]}", {"t3vae_nu9": 9.0}),
    ],
)
def test_dvc_writes_its_values_and_the_file_means_them(tmp_path, override, nu):
    """`dvc exp run -S`: a key that exists only through `like` or `grid` needs a plus."""
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    if override.startswith("+models"):
        with pytest.raises(Exception, match="set-param"):
            apply_overrides(path, [override.removeprefix("+")])
    apply_overrides(path, [override])
    assert {name: parameters.load(path).models[name].nu for name in nu} == nu


# --- defaults -----------------------------------------------------------------------------

SIX_LINES = """
mine:
  dataset: {dataset}
  network: {network}
  latent_dim: 2
  training: {training}
  models: [{models}]
  seeds: [0, 1]
"""


@pytest.mark.parametrize(
    ("dataset", "network", "training", "sampling", "evaluation", "some", "without"),
    [
        ("univariate", "mlp64", "univariate", "synthetic", "univariate", "ks density", "heatmaps"),
        ("bivariate", "mlp64", "bivariate", "synthetic", "bivariate", "mmd heatmaps", "ks"),
        ("digits_lt", "cnn_digits", "digits", "images", "images", "class_f1 per_class", "fid"),
        ("celeba", "cnn", "images", "images", "images", "kid attributes", "class_f1 per_class"),
    ],
)
def test_an_experiment_of_six_lines(
    tmp_path, dataset, network, training, sampling, evaluation, some, without
):
    models = "vae, beta_vae_matched, t3vae_nu10"
    block = SIX_LINES.format(dataset=dataset, network=network, training=training, models=models)
    path = with_more(tmp_path, experiments=block, suites="mine: [mine]")
    params = parameters.load(path, {"suite": "mine"})
    entry = params.experiments["mine"]
    assert (entry.sampling, entry.evaluation, entry.sigma) == (sampling, evaluation, 1.0)
    assert entry.latents == ["prior", "alternative", "fitted"]
    assert set(some.split()) <= {*entry.metrics, *entry.figures}
    assert not set(without.split()) & {*entry.metrics, *entry.figures}
    assert entry.control == ("vae" if dataset.endswith("variate") else "beta_vae_matched")
    assert entry.controls == {"t3vae_nu10": ["beta_vae_matched"]}
    plan = Plan(params)
    labels = [job.label for job in plan.jobs()]
    for verb in ("train", "sample", "evaluate"):
        assert f"{verb} mine t3vae_nu10 1" in labels
    assert {"collect mine", f"figure mine {entry.figures[0]}", "report"} <= set(labels)
    assert ("extractor digits_lt" in labels) == (dataset == "digits_lt")
    assert all(job.json and job.code for job in plan.jobs())


def test_default_sizes_are_at_most_what_there_is(tmp_path):
    """Said sizes are refused where there is less; default ones do not ask for another block."""
    block = SIX_LINES.format(dataset="few", network="mlp64", training="univariate", models="vae")
    few = "few: {like: univariate, train: 500, validation: 100, test: 50}"
    path = with_more(tmp_path, experiments=block, datasets=few)
    assert parameters.load(path).experiments["mine"].sampling == "synthetic"
    path = with_more(tmp_path, experiments=f"{block}  sampling: synthetic", datasets=few)
    assert any("more than the 500 train rows of `few`" in text for text in problems(path))


def test_shorter_lists_of_models_need_no_other_edit(tmp_path):
    """Each model alone in every experiment: controls go, and nothing is refused."""
    plain = yaml.safe_load(TEXT)
    for name, entry in parameters.load(ROOT / "params.yaml").experiments.items():
        for model in (entry.models or ())[::5]:
            given = {"experiments": {name: {"models": [model]}}}
            short = parameters.load(ROOT / "params.yaml", given).experiments[name]
            assert short.models == [model]
            assert not short.controls and short.control in (None, model)
            said = plain["experiments"][name].get("controls", {})
            notes = parameters.load(ROOT / "params.yaml", given).notes
            assert len([n for n in notes if n.startswith(f"experiments.{name}.")]) >= len(said)


def test_absent_controls_are_left_out_with_a_note_and_wrong_names_refused(tmp_path):
    given = (
        "models: [vae, t3vae_nu10], control: hvae, controls: {vae: [hvae, t3vae_nu10], hvae: [vae]}"
    )
    path = with_more(tmp_path, experiments=f"x: {{like: digits_lt, {given}}}\nyy: {{like: x}}")
    params = parameters.load(path)
    for name in ("x", "yy"):
        entry = params.experiments[name]
        assert (entry.control, entry.controls) == ("vae", {"vae": ["t3vae_nu10"]})
    assert params.notes == (
        "experiments.x.control: left out, since hvae is not in the experiment's models",
        "experiments.x.controls.vae: left out, since hvae is not in the experiment's models",
        "experiments.x.controls.hvae: left out, since hvae is not in the experiment's models",
    )
    wrong = given.replace("[hvae, ", "[hvaee, ").replace("hvae: [vae]", "vea: [vae]")
    found = problems(with_more(tmp_path, experiments=f"x: {{like: digits_lt, {wrong}}}"))
    assert [text.split(": ", 1)[1] for text in found] == [
        "experiments.x.controls.vae[0] = hvaee: not a known model. Did you mean hvae?",
        "experiments.x.controls.vea: not a known model. Did you mean vae?",
    ]


def test_the_project_s_own_file_leaves_nothing_out():
    assert parameters.load(ROOT / "params.yaml").notes == ()


def test_controls_of_t_models_have_the_same_nu():
    params = parameters.load(ROOT / "params.yaml")
    controls = Plan(params).collect("digits_lt").config["controls"]
    assert controls["t3vae_nu2p5"] == [
        *("beta_vae_matched_nu2p5", "beta_vae_matched_scaled_nu2p5"),
        *("gaussian_twin_nu2p5", "gaussian_twin_nu2p5_w0p8"),
    ]
    assert controls["t3hvae_joint_nu10"] == ["hvae_matched", "hvae_matched_scaled"]
    assert controls["c_t3vae_nu10"] == ["c_vae_matched", "c_vae_matched_scaled", "t3vae_nu10"]
    moved = {"models": {"beta_vae_matched_scaled": {"nu": 9.0}}}
    controls = parameters.load(ROOT / "params.yaml", moved).experiments["digits_lt"].controls
    assert "beta_vae_matched_scaled" not in controls["t3vae_nu10"]


# --- where each value comes from ----------------------------------------------------------


def test_every_value_of_an_experiment_says_where_it_comes_from():
    given = {"training": {"digits": {"epochs": "3"}}, "models": {"t3vae_nu10": {"beta": 2.0}}}
    text = explain(ROOT / "params.yaml", "digits_smoke", given)
    rows = dict(row.split(maxsplit=1) for row in text.splitlines())
    path = ROOT / "params.yaml"
    file = parameters._display(path)
    said = line(path, "{like: digits_lt, training: digits_smoke")
    assert rows["experiments.digits_smoke.seeds"].startswith(f"{file}:{said} ")
    assert rows["experiments.digits_smoke.seeds"].endswith(" [0]")
    assert re.match(
        rf"{re.escape(file)}:\d+, like digits_lt +0.5", rows["experiments.digits_smoke.sigma"]
    )
    assert re.match(
        r"default of images with classes +\[samples, recons",
        rows["experiments.digits_smoke.figures"],
    )
    assert rows["training.digits_smoke.learning_rate"].split()[-1] == "0.002"
    assert ", like digits " in rows["training.digits_smoke.learning_rate"]
    assert re.match(r"default +float32", rows["training.digits_smoke.precision"])
    assert re.match(r"default +1.0e-08", rows["training.digits_smoke.epsilon"])
    assert ", grid of c_t3vae " in rows["models.c_t3vae_nu10.nu"]
    text = explain(ROOT / "params.yaml", "digits_lt", given)
    rows = dict(row.split(maxsplit=1) for row in text.splitlines())
    assert re.match(r"command line +3$", rows["training.digits.epochs"])
    assert re.match(r"command line +2.0$", rows["models.t3vae_nu10.beta"])
    assert ", grid of t3vae " in rows["models.t3vae_nu10.nu"]
    assert rows["experiments.digits_lt.controls.t3vae_nu10"].startswith("default: models with the")


def test_the_command_lists_one_experiment():
    arguments = ["params", "univariate_smoke", "--params", str(ROOT / "params.yaml")]
    shown = CliRunner().invoke(cli, [*arguments, "--config", "models={t3vae_nu9: {nu: 8}}"])
    assert shown.exit_code == 0
    assert re.search(r"^models\.t3vae_nu9\.nu +command line +8\.0$", shown.output, re.MULTILINE)
    for arguments, message in (
        (["params", "univariat"], "univariat: not an experiment of .* Did you mean univariate?"),
        (["params", "--config", "suite"], "--config: suite: must be KEY=VALUE"),
        (["params", "--config", "models={"], "must be KEY=VALUE"),
    ):
        failed = CliRunner().invoke(cli, [*arguments, "--params", str(ROOT / "params.yaml")])
        assert re.search(message, str(failed.exception)), failed.exception
