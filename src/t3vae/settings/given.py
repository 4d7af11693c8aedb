"""The configuration of one job as it comes with ``--config``: checked before anything runs.

The workflow hands every job its configuration as JSON. One that another version wrote, or
that was typed by hand, is refused with all its problems, by the declarations that also
check ``params.yaml``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from t3vae.errors import ConfigError
from t3vae.settings.blocks import NAME_PATTERN, Block, Colour, Count, Name, Real, Seed
from t3vae.settings.config import (
    ExtractorTraining,
    FigureStyle,
    Inception,
    Network,
    Sampling,
    Training,
)
from t3vae.settings.families import Family
from t3vae.settings.metric_options import METRICS, SHARED_OPTIONS
from t3vae.settings.problems import Problem, dotted, shown, validation_problems
from t3vae.settings.sources import SOURCES

__all__ = ["check_names", "parse"]

Latents = list[Literal["prior", "alternative", "fitted"]]


class _Nothing(Block):
    """No settings."""


class _Extractor(Block):
    dataset: Name
    extractor: ExtractorTraining


class _Train(Block):
    dataset: Name
    network: Network
    model: Family
    latent_dim: Count
    sigma: Real
    training: Training
    seed: Seed


class _Sample(Block):
    dataset: Name
    latents: Latents
    sampling: Sampling
    seed: Seed


class _Evaluate(Block):
    dataset: Name
    latents: Latents
    metrics: list[str]
    evaluation: dict[str, Any]
    seed: Seed


class _Collect(Block):
    dataset: Name
    models: list[Name]
    families: dict[Name, str]
    seeds: list[Seed]
    latents: Latents
    metrics: list[str]
    control: Name | None
    figures: list[Name]


class _Images(Block):
    extractors: dict[Name, Inception | _Nothing]


class _CollectImages(Block):
    controls: dict[Name, list[Name]] | None = None
    images: Literal[True] | None = None


class _Figure(Block):
    name: Name
    models: list[Name]
    palette: dict[Name, Colour]
    style: FigureStyle


class _ReportExperiment(Block):
    dataset: Name
    models: dict[Name, Family]
    seeds: list[Seed]
    figures: list[Name]
    metrics: list[str]


class _Report(Block):
    suite: Name
    experiments: dict[Name, _ReportExperiment]


_JOBS: dict[str, type[Block]] = {
    "extractor": _Extractor,
    "train": _Train,
    "sample": _Sample,
    "evaluate": _Evaluate,
    "collect": _Collect,
    "figure": _Figure,
    "report": _Report,
}


# Keys that only jobs on images, or with several controls, have.
_OPTIONAL: dict[str, type[Block]] = {"evaluate": _Images, "collect": _CollectImages}


def check_names(**names: str) -> None:
    """Refuse names that could leave their folder: they become parts of paths.

    Raises:
        ConfigError: a name holds anything but lower-case letters, digits and underscores.
    """
    bad = [f"{key} = {shown(n)}" for key, n in names.items() if not re.match(NAME_PATTERN, n)]
    if bad:
        raise ConfigError(
            [f"{each}: must be lower-case letters, digits and underscores." for each in bad]
        )


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
        remedy = "Leave --config away to take it from params.yaml, or remake it with this version."
        places = [f"{dotted(p.path)}{'' if p.value is None else f' = {p.value}'}" for p in problems]
        texts = [f"--config: {a}: {p.message}" for a, p in zip(places, problems, strict=True)]
        raise ConfigError([*texts, f"--config: not a configuration of this version. {remedy}"])
    return config


def _problems(verb: str, config: dict[str, Any]) -> Iterator[Problem]:
    if verb == "prepare":
        yield from _prepare_problems(config)
        return
    optional = _OPTIONAL.get(verb)
    extra = {
        key: config[key] for key in (optional.model_fields if optional else ()) if key in config
    }
    yield from _checked({k: v for k, v in config.items() if k not in extra}, _JOBS[verb])
    if optional and extra:
        yield from _checked(extra, optional, required=False)
    options = config.get("evaluation")
    if verb == "evaluate" and isinstance(options, dict):
        named = config.get("metrics")
        shared = () if "extractors" in config else SHARED_OPTIONS
        asked = {*shared, *(map(str, named) if isinstance(named, list) else ())}
        for name in sorted(asked | set(options)):
            if name not in options:
                yield Problem(("evaluation", name), None, "is missing.")
            elif name in METRICS:
                yield from _checked(options[name], METRICS[name], ("evaluation", name))
            elif name not in SHARED_OPTIONS or not isinstance(options[name], float):
                message = f"unknown, or not a number. Known: {', '.join(METRICS)}."
                yield Problem(("evaluation", name), shown(options[name]), message)


def _prepare_problems(config: dict[str, Any]) -> Iterator[Problem]:
    source = config.get("source")
    if not isinstance(source, str) or source not in SOURCES:
        message = f"must be one of {', '.join(SOURCES)}."
        yield Problem(("source",), shown(source), message)
        return
    name = config.get("dataset")
    if not isinstance(name, str) or not re.match(NAME_PATTERN, name):
        yield Problem(("dataset",), shown(name), "must be a name.")
    yield from _checked({k: v for k, v in config.items() if k != "dataset"}, SOURCES[source])


def _checked(
    values: Any, kind: type[BaseModel], prefix: tuple[str, ...] = (), *, required: bool = True
) -> Iterator[Problem]:
    """Yield what is wrong; a key that is left out is wrong, too, where it has a default."""
    try:
        filled = kind.model_validate(values).model_dump(mode="json")
    except ValidationError as error:
        yield from validation_problems(error, values, kind, prefix)
        return
    for path in _added(filled, values) if required else ():
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
