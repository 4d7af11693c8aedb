"""Each job's configuration holds what the job depends on, and nothing else."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

from t3vae.errors import ConfigError
from t3vae.settings import parameters
from t3vae.workflow import jobs
from t3vae.workflow.plan import Plan

FILE = Path(__file__).parent.parent / "params.yaml"
PLAIN = yaml.safe_load(FILE.read_text(encoding="utf-8"))
EXPANDED = parameters.load(FILE).model_dump(mode="json")


def _load(tmp_path: Path, values) -> parameters.Parameters:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return parameters.load(path)


def _canonical(config) -> str:
    return json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _all(params) -> dict[str, str]:
    """Every configuration of the suite, as canonical JSON, by the name of its job."""
    return {job.label: _canonical(job.config) for job in Plan(params).jobs()}


def _changed(tmp_path: Path, *changes) -> set[str]:
    """Jobs whose configuration differs after some changes ``(path, value)``."""
    values = copy.deepcopy(PLAIN)
    for path, value in changes:
        *parents, last = path.split(".")
        block = values
        for part in parents:
            block = block.setdefault(part, {})
        block[last] = value
    before, after = _all(_load(tmp_path, PLAIN)), _all(_load(tmp_path, values))
    names = before.keys() | after.keys()
    return {name for name in names if before.get(name) != after.get(name)}


def _runs(verb: str, experiment: str, *models: str, seeds=(0, 1, 2)) -> set[str]:
    names = models or EXPANDED["experiments"][experiment]["models"]
    return {f"{verb} {experiment} {model} {seed}" for model in names for seed in seeds}


def _figures(experiment: str) -> set[str]:
    names = EXPANDED["experiments"][experiment]["figures"]
    return {f"figure {experiment} {name}" for name in names}


DEMO = ("univariate", "bivariate", "digits_lt")


def test_the_jobs_of_the_default_suite():
    params = parameters.load(FILE)
    names = _all(params)
    plan = Plan(params)
    assert plan.datasets() == ["constants", "univariate", "bivariate", "digits_lt"]
    assert sum(len(plan.runs(name)) for name in plan.experiments) == 3 * (7 + 4 + 26)
    expected = {f"prepare {name}" for name in ("constants", *DEMO)}
    expected |= {"report", "extractor digits_lt"}
    for experiment in DEMO:
        for verb in ("train", "sample", "evaluate"):
            expected |= _runs(verb, experiment)
    for experiment in ("constants", *DEMO):
        expected |= {f"collect {experiment}"} | _figures(experiment)
    assert set(names) == expected


def test_a_training_configuration_in_full():
    params = parameters.load(FILE)
    assert jobs.config("train", params, "univariate_paper", "t3vae_nu9", 3) == {
        "dataset": "univariate",
        "network": {"kind": "mlp", "hidden": [64, 64], "negative_slope": 0.01},
        "model": {"family": "t3vae", "nu": 9.0, "beta": 1.0},
        "latent_dim": 1,
        "sigma": 0.1,
        "training": {
            "learning_rate": 1e-3,
            "epsilon": 1e-8,
            "weight_decay": 1e-4,
            "batch_size": 1024,
            "epochs": 100,
            "patience": 15,
            "clip_norm": None,
            "precision": "float32",
        },
        "seed": 3,
    }


def test_the_same_settings_in_two_experiments_are_the_same_training():
    params = parameters.load(FILE)
    for verb in ("train", "sample"):
        assert jobs.config(verb, params, "univariate", "vae", 0) == jobs.config(
            verb, params, "univariate_paper", "vae", 0
        )


CHANGES = {
    "nu of one model": (
        [("models.t3vae_nu9.nu", 9.5)],
        _runs("train", "univariate", "t3vae_nu9")
        | _figures("univariate")  # whose label of the model says nu
        | {"report"},
    ),
    "settings of a training": (
        [("training.bivariate.epochs", 99)],
        _runs("train", "bivariate"),
    ),
    "the decoder's scale": (
        [("experiments.univariate.sigma", 0.2)],
        _runs("train", "univariate"),
    ),
    "the fit of the latent distribution": (
        [("sampling.synthetic.fit.max_components", 5)],
        _runs("sample", "univariate") | _runs("sample", "bivariate"),
    ),
    "options of a metric": (
        [("evaluation.univariate.mmd.points", 1999)],
        _runs("evaluate", "univariate"),
    ),
    "options of a metric that is not computed": (
        [("evaluation.bivariate.ks", {})],
        set(),
    ),
    "a metric": (
        [("experiments.bivariate.metrics", ["mmd", "hill"])],
        _runs("evaluate", "bivariate") | {"collect bivariate", "report"},
    ),
    "a seed more": (
        [("experiments.bivariate.seeds", [0, 1, 2, 3])],
        {
            *(
                name
                for v in ("train", "sample", "evaluate")
                for name in _runs(v, "bivariate", seeds=[3])
            ),
            "collect bivariate",
            "report",
        },
    ),
    "a model more": (
        [
            (
                "experiments.bivariate.models",
                [*PLAIN["experiments"]["bivariate"]["models"], "beta_vae_2"],
            )
        ],
        {
            *(
                n
                for v in ("train", "sample", "evaluate")
                for n in _runs(v, "bivariate", "beta_vae_2")
            ),
            *_figures("bivariate"),
            "collect bivariate",
            "report",
        },
    ),
    "a model that no experiment of the suite has": (
        [("models.new", {"family": "t3vae", "nu": 3.0})],
        set(),
    ),
    "the data": (
        [("datasets.univariate.train", 199_999), ("sampling.synthetic.aggregate", 199_999)],
        {"prepare univariate", "prepare bivariate"}  # which is like it
        | _runs("sample", "univariate")
        | _runs("sample", "bivariate"),
    ),
    "a grid of the theory": (
        [("datasets.constants.regularizer.points", 100)],
        {"prepare constants"},
    ),
    "a colour": (
        [("figures.colours", {"de_vae_nu9": "#000001"})],
        _figures("univariate"),
    ),
    "the size of text": (
        [("figures.style.font_size", 8.0)],
        _figures("univariate")
        | _figures("bivariate")
        | _figures("constants")
        | _figures("digits_lt"),
    ),
    "a figure less": (
        [("experiments.constants.figures", ["regularizer", "tau_alpha"])],
        {"figure constants high_dimension", "collect constants", "report"},
    ),
    "the control": (
        [("experiments.bivariate.control", "t3vae_nu5")],
        {"collect bivariate"},
    ),
    "the device": ([("device", "cpu")], set()),
    "another suite's experiment": ([("experiments.univariate_paper.sigma", 0.5)], set()),
    "the way a number is written": (
        [
            ("models.t3vae_nu9.nu", 9),
            ("training.univariate.epochs", 100.0),
            ("experiments.bivariate.sigma", 1),
            ("experiments.univariate.seeds", [0.0, 1, 2]),
            ("datasets.univariate.train", 200000.0),
            ("figures.style.dpi", 200.0),
            ("evaluation.univariate.threshold", 6),
            ("training.univariate.weight_decay", 1.0e-04),
        ],
        set(),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_reaches_its_jobs_and_no_other(tmp_path, change):
    changes, expected = CHANGES[change]
    assert _changed(tmp_path, *changes) == expected


def test_the_name_of_an_experiment_reaches_no_run(tmp_path):
    values = copy.deepcopy(EXPANDED)
    values["experiments"]["renamed"] = values["experiments"].pop("univariate")
    values["suites"]["demo"] = ["constants", "renamed", "bivariate", "digits_lt"]
    before, after = (_all(_load(tmp_path, v)) for v in (EXPANDED, values))
    for name, config in before.items():
        if name.split()[0] in ("train", "sample", "evaluate"):
            assert after[name.replace(" univariate ", " renamed ")] == config


def test_configurations_hold_no_number_that_json_cannot_say():
    for suite in PLAIN["suites"]:
        params = parameters.load(FILE, {"suite": suite})
        for text in _all(params).values():
            assert _canonical(json.loads(text)) == text


def test_an_experiment_without_models():
    params = parameters.load(FILE)
    config = jobs.config("collect", params, "constants")
    assert (config["models"], config["seeds"], config["control"]) == ([], [], None)
    assert jobs.config("figure", params, "constants", "tau_alpha")["looks"] == {}
    assert Plan(params).runs("constants") == []


def test_looks_within_a_figure_differ():
    for suite in PLAIN["suites"]:
        plan = Plan(parameters.load(FILE, {"suite": suite}))
        for job in plan.jobs():
            looks = job.config.get("looks", {})
            assert len({look["colour"] for look in looks.values()}) == len(looks)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: jobs.config("prepare", p, "nope"), "nope: not a dataset. Known: constants, "),
        (lambda p: jobs.config("train", p, "nope", "vae", 0), "nope: not an experiment. Known: "),
        (
            lambda p: jobs.config("train", p, "bivariate", "de_vae_nu9", 0),
            "not a model of experiment bivari",
        ),
        (
            lambda p: jobs.config("sample", p, "bivariate", "vae", 9),
            "9: not a seed of experiment biv",
        ),
        (
            lambda p: jobs.config("evaluate", p, "constants", "vae", 0),
            "vae: not a model of experiment",
        ),
        (
            lambda p: jobs.config("figure", p, "bivariate", "density"),
            "density: not a figure of bivar",
        ),
        (lambda p: jobs.config("collect", p, "nope"), "nope: not a"),
    ],
)
def test_a_name_that_is_not_there_is_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call(parameters.load(FILE))
