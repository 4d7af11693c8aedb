"""The jobs of a suite, and the resolved configuration of each: all that it depends on.

A configuration is a plain JSON object. It holds what its own job reads and nothing else,
so that a change of params.yaml reruns only what it concerns. The name of the experiment
is in none of the configurations of training, sampling and evaluation.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from t3vae.errors import ConfigError
from t3vae.settings.config import Experiment, Parameters
from t3vae.settings.image_sources import IMAGE_SOURCES
from t3vae.settings.metric_options import SHARED_OPTIONS, extractors

__all__ = [
    "Run",
    "collect_config",
    "colour",
    "datasets",
    "evaluate_config",
    "extracted",
    "extractor_config",
    "figure_config",
    "figures",
    "of_images",
    "prepare_config",
    "report_config",
    "resources",
    "runs",
    "sample_config",
    "suite_experiments",
    "train_config",
]

FALLBACK_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#999999",
)
"""Okabe and Ito's colours without black (kept for the truth) and yellow (too light)."""


class Run(NamedTuple):
    """One training run."""

    experiment: str
    model: str
    seed: int


def suite_experiments(params: Parameters, suite: str | None = None) -> list[str]:
    """Names of the experiments of a suite, by default of the chosen one."""
    name = params.suite if suite is None else suite
    if name not in params.suites:
        raise ConfigError(f"suite = {name}: not a suite. Known: {', '.join(params.suites)}.")
    return list(params.suites[name])


def datasets(params: Parameters) -> list[str]:
    """Names of the data sets that the chosen suite needs, each once."""
    return list(
        dict.fromkeys(params.experiments[name].dataset for name in suite_experiments(params))
    )


def runs(params: Parameters) -> list[Run]:
    """Every (experiment, model, seed) of the chosen suite."""
    return [
        Run(name, model, seed)
        for name in suite_experiments(params)
        for model in params.experiments[name].models or ()
        for seed in params.experiments[name].seeds or ()
    ]


def of_images(params: Parameters, dataset: str) -> bool:
    """Say whether the rows of a data set are images."""
    _known(dataset, params.datasets, "a dataset")
    return params.datasets[dataset].source in IMAGE_SOURCES


def extracted(params: Parameters, experiment: str) -> list[str]:
    """Extractors that the metrics of an experiment need: none where its data are numbers."""
    entry = _experiment(params, experiment)
    if not entry.metrics or not entry.evaluation or not of_images(params, entry.dataset):
        return []
    return extractors(entry.metrics, params.evaluation[entry.evaluation].model_dump(mode="json"))


def resources(params: Parameters, experiment: str) -> dict[str, int]:
    """Memory and time that a job of the experiment may take; empty for the usual ones."""
    found = _experiment(params, experiment).resources
    return {} if found is None else found.model_dump()


def figures(params: Parameters) -> list[tuple[str, str]]:
    """Every (experiment, figure) of the chosen suite."""
    return [
        (name, figure)
        for name in suite_experiments(params)
        for figure in params.experiments[name].figures
    ]


def prepare_config(params: Parameters, dataset: str) -> dict[str, Any]:
    """What the data set depends on."""
    _known(dataset, params.datasets, "a dataset")
    return {"dataset": dataset, **params.datasets[dataset].model_dump(mode="json")}


def extractor_config(params: Parameters, dataset: str) -> dict[str, Any]:
    """What the classifier of a data set depends on, beside its images."""
    _known(dataset, params.extractors, "a data set with an extractor")
    return {"dataset": dataset, "extractor": params.extractors[dataset].model_dump(mode="json")}


def train_config(params: Parameters, experiment: str, model: str, seed: int) -> dict[str, Any]:
    """What the training of one run depends on."""
    entry = _run(params, experiment, model, seed)
    return {
        "dataset": entry.dataset,
        "network": params.networks[entry.network].model_dump(mode="json"),
        "model": params.models[model].model_dump(mode="json"),
        "latent_dim": entry.latent_dim,
        "sigma": entry.sigma,
        "training": params.training[entry.training].model_dump(mode="json"),
        "seed": int(seed),
    }


def sample_config(params: Parameters, experiment: str, model: str, seed: int) -> dict[str, Any]:
    """What the samples from one run depend on, beside the run itself."""
    entry = _run(params, experiment, model, seed)
    return {
        "dataset": entry.dataset,
        "latents": list(entry.latents),
        "sampling": params.sampling[entry.sampling].model_dump(mode="json"),
        "seed": int(seed),
    }


def evaluate_config(params: Parameters, experiment: str, model: str, seed: int) -> dict[str, Any]:
    """What the metrics of one run depend on, beside its samples.

    The options hold the blocks of the metrics that are asked for, and the shared ones.
    """
    entry = _run(params, experiment, model, seed)
    options = params.evaluation[entry.evaluation].model_dump(mode="json")
    images = of_images(params, entry.dataset)
    asked = [*(() if images else SHARED_OPTIONS), *entry.metrics]
    config = {
        "dataset": entry.dataset,
        "latents": list(entry.latents),
        "metrics": list(entry.metrics),
        "evaluation": {name: options[name] for name in asked},
        "seed": int(seed),
    }
    if images:
        inception = params.inception.model_dump(mode="json")
        config["extractors"] = {
            name: inception if name == "inception" else {} for name in extracted(params, experiment)
        }
    return config


def collect_config(params: Parameters, experiment: str) -> dict[str, Any]:
    """What the tables of one experiment depend on, beside its metrics."""
    entry = _experiment(params, experiment)
    models = list(entry.models or ())
    return {
        "dataset": entry.dataset,
        "models": models,
        "families": {model: params.models[model].family for model in models},
        "seeds": list(entry.seeds or ()),
        "latents": list(entry.latents or ()),
        "metrics": list(entry.metrics or ()),
        "control": entry.control,
        "figures": list(entry.figures),
        **({"controls": dict(entry.controls)} if entry.controls else {}),
        **({"images": True} if models and of_images(params, entry.dataset) else {}),
    }


def figure_config(params: Parameters, experiment: str, figure: str) -> dict[str, Any]:
    """What one figure depends on, beside its tables: models, colours and measures."""
    entry = _experiment(params, experiment)
    _known(figure, entry.figures, f"a figure of {experiment}")
    models = list(entry.models or ())
    return {
        "name": figure,
        "models": models,
        "palette": {model: colour(params, model) for model in models},
        "style": params.figures.style.model_dump(mode="json"),
    }


def report_config(params: Parameters) -> dict[str, Any]:
    """What the report page depends on, beside its tables and figures."""
    experiments = {}
    for name in suite_experiments(params):
        entry = params.experiments[name]
        experiments[name] = {
            "dataset": entry.dataset,
            "models": {
                model: params.models[model].model_dump(mode="json") for model in entry.models or ()
            },
            "seeds": list(entry.seeds or ()),
            "figures": list(entry.figures),
            "metrics": list(entry.metrics or ()),
        }
    return {"suite": params.suite, "experiments": experiments}


def colour(params: Parameters, model: str) -> str:
    """Colour of a model: that of the palette, else one that depends on the name alone.

    A fallback may equal the colour of another model; give the model one in the palette then.
    """
    if model in params.figures.palette:
        return params.figures.palette[model].upper()
    number = int.from_bytes(hashlib.blake2b(model.encode(), digest_size=8).digest(), "big")
    return FALLBACK_COLOURS[number % len(FALLBACK_COLOURS)]


def _known(name: str, names: Any, what: str) -> None:
    if name not in names:
        raise ConfigError(f"{name}: not {what}. Known: {', '.join(map(str, names))}.")


def _experiment(params: Parameters, experiment: str) -> Experiment:
    _known(experiment, params.experiments, "an experiment")
    return params.experiments[experiment]


def _run(params: Parameters, experiment: str, model: str, seed: int) -> Any:
    """Return the experiment after checking that the run belongs to it."""
    entry = _experiment(params, experiment)
    _known(model, entry.models or (), f"a model of experiment {experiment}")
    if int(seed) not in (entry.seeds or ()):
        raise ConfigError(
            f"{seed}: not a seed of experiment {experiment}. "
            f"Known: {', '.join(map(str, entry.seeds or ()))}."
        )
    return entry
