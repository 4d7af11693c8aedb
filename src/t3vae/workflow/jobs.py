"""The jobs of a suite, and the configuration of each: all that it depends on, of one type.

The plan makes a configuration from the parameters (:func:`config`), the workflow hands it on
as JSON, and the verb reads it with the same type (:func:`parse`): one that another version
wrote, or that was typed by hand, is refused with all its problems before anything runs. A
configuration holds what its own job reads and nothing else, so that a change of params.yaml
reruns only what it concerns. The name of the experiment is in none of those of training,
sampling and evaluation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ValidationError

from t3vae.errors import ConfigError
from t3vae.settings.blocks import NAME_PATTERN, Block, Colour, Count, Name, Real, Seed
from t3vae.settings.catalogue import IMAGE
from t3vae.settings.config import (
    BLOCKS,
    Experiment,
    ExtractorTraining,
    FigureStyle,
    Inception,
    Parameters,
    Sampling,
    Training,
)
from t3vae.settings.families import Family, Network
from t3vae.settings.figures import FIGURES
from t3vae.settings.looks import Line, Marker, looks
from t3vae.settings.metrics import METRICS, SHARED, NoOptions, extractors
from t3vae.settings.problems import Problem, dotted, shown, validation_problems
from t3vae.settings.sources import SOURCES, source_of

__all__ = ["check_names", "config", "extracted", "labels", "of_images", "parse"]

Latents = list[Literal["prior", "alternative", "fitted"]]


def of_images(params: Parameters, dataset: str) -> bool:
    """Say whether the rows of a data set are images."""
    _known(dataset, params.datasets, "a dataset")
    source = source_of(_dumped(params.datasets[dataset]))
    return source is not None and source.columns == IMAGE


def extracted(params: Parameters, experiment: str) -> list[str]:
    """Extractors that the metrics of an experiment need: none where its data are numbers."""
    entry = _experiment(params, experiment)
    if not entry.metrics or not entry.evaluation or not of_images(params, entry.dataset):
        return []
    return extractors(entry.metrics, _dumped(params.evaluation[entry.evaluation]))


# --- one type a job -----------------------------------------------------------------------


class Job(Block):
    """The configuration of a job; ``of`` returns the values from the parameters."""

    optional: ClassVar[tuple[str, ...]] = ()
    """Keys that only some jobs of the type have."""

    @classmethod
    def of(cls, params: Parameters, *names: Any) -> dict[str, Any]:
        return _picked(cls, _of_run(params, *names))


class Extractor(Job):
    """What the classifier of a data set depends on, beside its images."""

    dataset: Name
    extractor: ExtractorTraining

    @classmethod
    def of(cls, params: Parameters, *names: Any) -> dict[str, Any]:
        (dataset,) = names
        _known(dataset, params.extractors, "a data set with an extractor")
        return {"dataset": dataset, "extractor": _dumped(params.extractors[dataset])}


class Train(Job):
    """What the training of one run depends on."""

    dataset: Name
    network: Network
    model: Family
    latent_dim: Count
    sigma: Real
    training: Training
    seed: Seed


class Sample(Job):
    """What the samples of one run depend on, beside the run itself."""

    dataset: Name
    latents: Latents
    sampling: Sampling
    seed: Seed


class Evaluate(Job):
    """What the metrics of one run depend on, beside its samples.

    The options hold the blocks of the metrics that are asked for, and the shared ones.
    """

    optional = ("extractors",)

    dataset: Name
    latents: Latents
    metrics: list[str]
    evaluation: dict[str, Any]
    seed: Seed
    extractors: dict[Name, Inception | NoOptions] | None = None

    @classmethod
    def of(cls, params: Parameters, *names: Any) -> dict[str, Any]:
        found = _of_run(params, *names)
        images = of_images(params, found["dataset"])
        asked = [*(() if images else SHARED), *found["metrics"]]
        found["evaluation"] = {name: found["evaluation"][name] for name in asked}
        if images:
            options = {"inception": _dumped(params.inception)}
            needed = extracted(params, names[0])
            found["extractors"] = {name: options.get(name, {}) for name in needed}
        return _picked(cls, found)


class _Label(Block):
    label: str
    direction: str


def labels(metrics: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return label and direction of every entry that some metrics write, by its name.

    Example:
        >>> labels(["ks"])
        {'ks': {'label': 'Kolmogorov–Smirnov distance', 'direction': 'lower'}}
    """
    return {
        name: {"label": label, "direction": better}
        for metric in metrics
        for name, (label, better) in METRICS[metric].entries(metric).items()
    }


class Collect(Job):
    """What the tables of one experiment depend on, beside its metrics."""

    optional = ("controls", "images")

    dataset: Name
    models: list[Name]
    families: dict[Name, str]
    seeds: list[Seed]
    latents: Latents
    metrics: list[str]
    control: Name | None
    figures: list[Name]
    labels: dict[str, _Label]
    controls: dict[Name, list[Name]] | None = None
    images: Literal[True] | None = None

    @classmethod
    def of(cls, params: Parameters, *names: Any) -> dict[str, Any]:
        found = _of_experiment(params, *names)
        found["families"] = {model: params.models[model].family for model in found["models"]}
        found["labels"] = labels(found["metrics"])
        if found["models"] and of_images(params, found["dataset"]):
            found["images"] = True
        if not found["controls"]:
            del found["controls"]
        return _picked(cls, found)


class _Look(Block):
    label: str
    colour: Colour
    marker: Marker
    line: Line


class Figure(Job):
    """What one figure depends on, beside its tables: models, their looks and measures."""

    name: Name
    models: list[Name]
    looks: dict[Name, _Look]
    style: FigureStyle

    @classmethod
    def of(cls, params: Parameters, *names: Any) -> dict[str, Any]:
        experiment, figure = names
        found = _of_experiment(params, experiment)
        _known(figure, found["figures"], f"a figure of {experiment}")
        shown = looks({model: _dumped(params.models[model]) for model in found["models"]})
        for model in shown.keys() & params.figures.colours.keys():
            shown[model]["colour"] = params.figures.colours[model].lower()
        style = _dumped(params.figures.style)
        return {"name": figure, "models": found["models"], "looks": shown, "style": style}


class _ReportExperiment(Block):
    dataset: Name
    models: dict[Name, Family]
    labels: dict[Name, str]
    seeds: list[Seed]
    figures: list[Name]
    metrics: list[str]


class Report(Job):
    """What the report page depends on, beside its tables and figures."""

    suite: Name
    experiments: dict[Name, _ReportExperiment]
    captions: dict[Name, str]

    @classmethod
    def of(cls, params: Parameters, *names: Any) -> dict[str, Any]:
        experiments = {}
        for name in params.suites[params.suite]:
            found = _of_experiment(params, name)
            models = {model: _dumped(params.models[model]) for model in found["models"]}
            found["labels"] = {model: look["label"] for model, look in looks(models).items()}
            experiments[name] = _picked(_ReportExperiment, {**found, "models": models})
        figures = [figure for entry in experiments.values() for figure in entry["figures"]]
        captions = {figure: FIGURES[figure].caption for figure in figures}
        return {"suite": params.suite, "experiments": experiments, "captions": captions}


_JOBS: dict[str, type[Any]] = {
    kind.__name__.lower(): kind
    for kind in (Extractor, Train, Sample, Evaluate, Collect, Figure, Report)
}


def config(verb: str, params: Parameters, *names: Any) -> dict[str, Any]:
    """Return the configuration of a job, a plain JSON object.

    Args:
        verb: name of the stage.
        params: the checked parameters.
        names: what the job is about, in the order of the command line.

    Raises:
        ConfigError: the parameters know no such job.
    """
    if verb == "prepare":
        (dataset,) = names
        _known(dataset, params.datasets, "a dataset")
        return {"dataset": dataset, **_dumped(params.datasets[dataset])}
    found: dict[str, Any] = _JOBS[verb].of(params, *names)
    return found


def _dumped(block: BaseModel) -> dict[str, Any]:
    return block.model_dump(mode="json")


# --- reading what the workflow handed on -------------------------------------------------


def check_names(**names: str) -> None:
    """Refuse names that could leave their folder: they become parts of paths.

    Raises:
        ConfigError: a name holds anything but lower-case letters, digits and underscores.
    """
    bad = [f"{key} = {shown(n)}" for key, n in names.items() if not re.match(NAME_PATTERN, n)]
    if bad:
        message = "must be lower-case letters, digits and underscores."
        raise ConfigError([f"{each}: {message}" for each in bad])


def parse(verb: str, text: str) -> dict[str, Any]:
    """Return the configuration of a job from its JSON.

    Args:
        verb: name of the stage.
        text: what ``--config`` was given.

    Raises:
        ConfigError: it is not JSON, or not a configuration that this version reads.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"--config: not JSON ({error}). `t3vae params --json` shows JSON."
        ) from error
    if not isinstance(config, dict):
        raise ConfigError(f"--config: must be a JSON object, but is {type(config).__name__}.")
    problems = list(_problems(verb, config))
    if problems:
        remedy = "Omit --config to take it from params.yaml, or remake it with this version."
        places = [f"{dotted(p.path)}{'' if p.value is None else f' = {p.value}'}" for p in problems]
        texts = [f"--config: {a}: {p.message}" for a, p in zip(places, problems, strict=True)]
        raise ConfigError([*texts, f"--config: not a configuration of this version. {remedy}"])
    return config


def _problems(verb: str, config: dict[str, Any]) -> Iterator[Problem]:
    if verb == "prepare":
        yield from _prepare_problems(config)
        return
    yield from _checked(config, _JOBS[verb])
    drawn, given = config.get("models"), config.get("looks")
    if verb == "figure" and isinstance(drawn, list) and isinstance(given, dict):
        missing = [model for model in map(str, drawn) if model not in given]
        yield from (Problem(("looks", model), None, "is missing.") for model in missing)
    options = config.get("evaluation")
    if verb == "evaluate" and isinstance(options, dict):
        named = config.get("metrics")
        shared = () if "extractors" in config else SHARED
        asked = {*shared, *(map(str, named) if isinstance(named, list) else ())}
        for name in sorted(asked | set(options)):
            if name not in options:
                yield Problem(("evaluation", name), None, "is missing.")
            elif name in METRICS:
                yield from _checked(options[name], METRICS[name].options, ("evaluation", name))
            elif name not in SHARED or not isinstance(options[name], float):
                message = f"unknown, or not a number. Known: {', '.join(METRICS)}."
                yield Problem(("evaluation", name), shown(options[name]), message)


def _prepare_problems(config: dict[str, Any]) -> Iterator[Problem]:
    source = source_of(config)
    if source is None:
        message = f"must be one of {', '.join(SOURCES)}, or an import path."
        yield Problem(("source",), shown(config.get("source")), message)
        return
    name = config.get("dataset")
    if not isinstance(name, str) or not re.match(NAME_PATTERN, name):
        yield Problem(("dataset",), shown(name), "must be a name.")
    yield from _checked({k: v for k, v in config.items() if k != "dataset"}, source.options)


def _checked(values: Any, kind: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[Problem]:
    """Yield what is wrong; a missing key is wrong, too, where it has a default."""
    try:
        filled = kind.model_validate(values).model_dump(mode="json")
    except ValidationError as error:
        yield from validation_problems(error, values, kind, prefix)
        return
    for path in _added(filled, values):
        if path[0] not in getattr(kind, "optional", ()):
            yield Problem((*prefix, *path), None, "is missing.")


def _added(filled: Any, given: Any) -> Iterator[tuple[str | int, ...]]:
    if isinstance(filled, Mapping) and isinstance(given, Mapping):
        for key, value in filled.items():
            if key not in given:
                yield (key,)
            else:
                yield from ((key, *rest) for rest in _added(value, given[key]))
    elif isinstance(filled, list) and isinstance(given, list):
        for i, (a, b) in enumerate(zip(filled, given, strict=True)):
            yield from ((i, *rest) for rest in _added(a, b))


def _known(name: Any, names: Any, what: str) -> None:
    if name not in names:
        raise ConfigError(f"{name}: not {what}. Known: {', '.join(map(str, names))}.")


def _experiment(params: Parameters, experiment: str) -> Experiment:
    _known(experiment, params.experiments, "an experiment")
    return params.experiments[experiment]


def _of_experiment(params: Parameters, experiment: str) -> dict[str, Any]:
    """Return the values of an experiment, with its blocks in the place of their names."""
    found = _dumped(_experiment(params, experiment))
    for key in ("models", "seeds", "latents", "metrics"):
        found[key] = found[key] or []
    for key in ("network", "training", "sampling", "evaluation"):
        if found[key] is not None:
            found[key] = _dumped(getattr(params, BLOCKS[key])[found[key]])
    return found


def _of_run(params: Parameters, experiment: str, model: str, seed: int) -> dict[str, Any]:
    """Return the values of a run after checking that it belongs to the experiment."""
    found = _of_experiment(params, experiment)
    _known(model, found["models"], f"a model of experiment {experiment}")
    _known(int(seed), found["seeds"], f"a seed of experiment {experiment}")
    return {**found, "model": _dumped(params.models[model]), "seed": int(seed)}


def _picked(kind: type[Block], found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: found[key] for key in kind.model_fields if key in found}
