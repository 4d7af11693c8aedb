"""Checks between the parts of params.yaml: names that must exist, sums, duplicates, sizes.

They work on the plain values and pass over what the typed declarations already refuse,
so that every problem of a file is found in one pass.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from typing import Any, TypeGuard

from t3vae.settings.catalogue import IMAGE
from t3vae.settings.config import RUN_FIELDS
from t3vae.settings.families import FAMILIES
from t3vae.settings.figures import FIGURES
from t3vae.settings.metrics import METRICS, extractors
from t3vae.settings.problems import Problem, nearest, shown
from t3vae.settings.sources import source_of

__all__ = ["cross_check"]


def cross_check(
    values: dict[str, Any], defaults: Container[tuple[Any, ...]] = ()
) -> Iterator[Problem]:
    """Yield the problems between the parts of a file.

    Args:
        values: the values of all sections, with defaults.
        defaults: paths of the values that are defaults; of those, sizes are at most what
            there is.
    """
    yield from _suites(values)
    for name, entry in _blocks(values, "datasets"):
        yield from _dataset(("datasets", name), entry)
    for name, entry in _blocks(values, "models"):
        yield from _model(("models", name), entry)
    for name, entry in _blocks(values, "evaluation"):
        for metric, options in entry.items():
            if isinstance(options, dict):
                path = ("evaluation", name, metric, "levels")
                yield from _distinct(path, options.get("levels"))
    for name, entry in _blocks(values, "experiments"):
        yield from _experiment(("experiments", name), entry, values)
        if ("experiments", name, "sampling") not in defaults:
            yield from _sizes(entry, values)
    for name in _section(values, "extractors"):
        yield from _extractor(name, values)
    inception = _section(values, "inception")
    if inception.get("weights") is not None and inception.get("sha256") is None:
        message = "is missing: the file of weights is a declared input. Write its SHA-256."
        yield Problem(("inception", "sha256"), None, message)
    for model in _section(_section(values, "figures"), "colours"):
        if model not in _section(values, "models"):
            yield Problem(
                ("figures", "colours", model),
                None,
                f"not a model. {nearest(model, _section(values, 'models'))}",
            )


def _extractor(name: str, values: dict[str, Any]) -> Iterator[Problem]:
    known = _section(values, "datasets")
    source = source_of(_section(known, name))
    if name not in known:
        yield Problem(("extractors", name), None, f"not a data set. {nearest(name, known)}")
    elif source is not None and source.columns != IMAGE:
        message = (
            f"the data set has source `{known[name]['source']}`, which has no images. Remove it."
        )
        yield Problem(("extractors", name), None, message)


def _section(values: Any, name: str) -> dict[str, Any]:
    section = values.get(name) if isinstance(values, dict) else None
    return section if isinstance(section, dict) else {}


def _blocks(values: dict[str, Any], section: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, entry in _section(values, section).items():
        if isinstance(entry, dict):
            yield name, entry


def _names(value: Any) -> Iterator[tuple[int, str]]:
    if isinstance(value, list):
        yield from ((i, name) for i, name in enumerate(value) if isinstance(name, str))


def _distinct(path: tuple[Any, ...], value: Any) -> Iterator[Problem]:
    seen: dict[Any, int] = {}
    for i, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, bool) or not isinstance(item, (int, float, str)):
            continue
        if item in seen:
            yield Problem(
                (*path, i),
                shown(item),
                f"a duplicate of entry [{seen[item]}]. Remove it.",
            )
        seen.setdefault(item, i)


def _suites(values: dict[str, Any]) -> Iterator[Problem]:
    suites = _section(values, "suites")
    suite = values.get("suite")
    if isinstance(suite, str) and suites and suite not in suites:
        yield Problem(("suite",), shown(suite), f"not a suite. {nearest(suite, suites)}")
    experiments = _section(values, "experiments")
    for name, members in suites.items():
        yield from _distinct(("suites", name), members)
        for i, member in _names(members):
            if member not in experiments:
                message = f"not an experiment. {nearest(member, experiments)}"
                yield Problem(("suites", name, i), shown(member), message)


def _dataset(path: tuple[str, ...], entry: dict[str, Any]) -> Iterator[Problem]:
    components = entry.get("components")
    components = components if isinstance(components, list) else []
    weights = [c.get("weight") if isinstance(c, dict) else None for c in components]
    numbers = [weight for weight in weights if _number(weight) and weight > 0]
    if numbers and len(numbers) == len(weights):
        total = math.fsum(numbers)
        if abs(total - 1.0) > 1e-9:
            message = f"the weights sum to {total:.10g}, not to 1. Change one of them."
            yield Problem((*path, "components"), None, message)
    seeds = _section(entry, "seeds")
    seen: dict[Any, str] = {}
    for split, seed in seeds.items():
        if not _number(seed):
            continue
        if seed in seen:
            message = f"the seed of {seen[seed]} too; the splits would share rows. Choose another."
            yield Problem((*path, "seeds", split), shown(seed), message)
        seen.setdefault(seed, split)
    for block in ("regularizer", "tau_alpha", "high_dimension"):
        grid = _section(entry, block)
        for key in ("nu", "data_dims"):
            yield from _distinct((*path, block, key), grid.get(key))
        for low, high in (
            ("variance_min", "variance_max"),
            ("excess_min", "excess_max"),
        ):
            a, b = grid.get(low), grid.get(high)
            if _number(a) and _number(b) and a >= b:
                yield Problem((*path, block, low), shown(a), f"must be less than {high} = {b}.")


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _model(path: tuple[str, ...], entry: dict[str, Any]) -> Iterator[Problem]:
    if entry.get("family") not in ("vae", "hvae", "c_vae"):
        return
    matched = [key for key in ("beta", "prior_scale") if entry.get(key) == "matched"]
    if matched and entry.get("nu") is None:
        message = (
            f"is missing: {matched[0]} = matched is that of the t3VAE with this nu. Add nu: 10.0."
        )
        yield Problem((*path, "nu"), None, message)
    if not matched and _number(entry.get("nu")):
        message = "has no effect: neither beta nor prior_scale is `matched`. Remove it."
        yield Problem((*path, "nu"), shown(entry["nu"]), message)


def _experiment(
    path: tuple[str, ...], entry: dict[str, Any], values: dict[str, Any]
) -> Iterator[Problem]:
    for key, section in (
        ("dataset", "datasets"),
        ("network", "networks"),
        ("training", "training"),
        ("sampling", "sampling"),
        ("evaluation", "evaluation"),
    ):
        name = entry.get(key)
        if isinstance(name, str) and name not in _section(values, section):
            message = f"not in `{section}`. {nearest(name, _section(values, section))}"
            yield Problem((*path, key), shown(name), message)
    known = {"models": _section(values, "models"), "metrics": METRICS}
    for key, names in known.items():
        for i, name in _names(entry.get(key)):
            if name not in names:
                message = f"not a known {key.removesuffix('s')}. {nearest(name, names)}"
                yield Problem((*path, key, i), shown(name), message)
    for key in ("models", "seeds", "metrics", "latents", "figures"):
        yield from _distinct((*path, key), entry.get(key))
    present = [key for key in RUN_FIELDS if entry.get(key) is not None]
    for key in RUN_FIELDS if present else ():
        if entry.get(key) is None:
            value = "null" if key in entry else None
            yield Problem((*path, key), value, f"is missing; `{present[0]}` needs it. Add it.")
    control = entry.get("control")
    if isinstance(control, str) and control not in known["models"]:
        message = f"not a known model. {nearest(control, known['models'])}"
        yield Problem((*path, "control"), shown(control), message)
    yield from _controls((*path, "controls"), entry, known["models"])
    dataset = _section(_section(values, "datasets"), str(entry.get("dataset")))
    yield from _metrics(path, entry, dataset, values)
    yield from _networks(path, entry, dataset, values)
    yield from _figures(path, entry, dataset, bool(present))


def _controls(
    path: tuple[str, ...], entry: dict[str, Any], known: dict[str, Any]
) -> Iterator[Problem]:
    for model, controls in _section(entry, "controls").items():
        if model not in known:
            message = f"not a known model. {nearest(model, known)}"
            yield Problem((*path, model), None, message)
        for i, control in _names(controls):
            if control == model:
                message = "the model itself. Name another, or remove it."
                yield Problem((*path, model, i), shown(control), message)
            elif control not in known:
                message = f"not a known model. {nearest(control, known)}"
                yield Problem((*path, model, i), shown(control), message)
        yield from _distinct((*path, model), controls)


def _networks(
    path: tuple[str, ...], entry: dict[str, Any], dataset: dict[str, Any], values: dict[str, Any]
) -> Iterator[Problem]:
    """Yield models and networks that do not fit the data or the training."""
    source, name = source_of(dataset), entry.get("network")
    for i, model in _names(entry.get("models")):
        family = _section(_section(values, "models"), model).get("family")
        conditional = (
            isinstance(family, str) and family in FAMILIES and FAMILIES[family].conditional
        )
        if (
            conditional
            and source is not None
            and source.columns is not None
            and not source.labelled
        ):
            message = (
                f"of the conditional family {family}, but data of source "
                f"`{dataset['source']}` have no classes. Remove it."
            )
            yield Problem((*path, "models", i), shown(model), message)
    kind = _section(_section(values, "networks"), str(name)).get("kind")
    if kind == "cnn" and source is not None and source.columns not in (None, IMAGE):
        message = (
            f"of kind cnn, but source `{dataset['source']}` has no images. Use one of kind mlp."
        )
        yield Problem((*path, "network"), shown(name), message)
    training = entry.get("training")
    if kind == "mlp" and (
        _section(_section(values, "training"), str(training)).get("precision") == "bfloat16"
    ):
        message = f"has precision bfloat16, which network {name} of kind mlp cannot use."
        yield Problem((*path, "training"), shown(training), message)


def _metrics(
    path: tuple[str, ...], entry: dict[str, Any], dataset: dict[str, Any], values: dict[str, Any]
) -> Iterator[Problem]:
    """Yield metrics that do not fit images or numbers, and a missing classifier."""
    source = source_of(dataset)
    if source is None or source.columns is None:
        return
    images = source.columns == IMAGE
    fitting = [name for name, metric in METRICS.items() if metric.fits(source.columns)]
    for i, name in _names(entry.get("metrics")):
        if name in METRICS and name not in fitting:
            message = (
                f"cannot judge data of source `{dataset['source']}`. "
                f"It can have: {', '.join(fitting)}."
            )
            yield Problem((*path, "metrics", i), shown(name), message)
    named = [name for _, name in _names(entry.get("metrics"))]
    options = _section(_section(values, "evaluation"), str(entry.get("evaluation")))
    known = _section(values, "extractors")
    data = entry.get("dataset")
    if images and "classifier" in extractors(named, options) and data not in known:
        message = (
            f"is missing: metrics of `{'.'.join(path)}` look through its classifier. "
            f"Add extractors.{data}: {{}}."
        )
        yield Problem(("extractors", str(data)), None, message)


def _figures(
    path: tuple[str, ...], entry: dict[str, Any], dataset: dict[str, Any], trains: bool
) -> Iterator[Problem]:
    source = source_of(dataset)
    if source is not None and source.columns is None and trains:
        message = (
            f"nothing trains on the source `{dataset['source']}`. "
            f"Change it, or remove {_first(entry)}."
        )
        yield Problem((*path, "dataset"), shown(entry.get("dataset")), message)
    if source is not None and source.columns is not None and not trains:
        message = "is missing; a data set with rows needs models, seeds and the rest. Add it."
        yield Problem((*path, "models"), None, message)
    fitting = [
        name for name, figure in FIGURES.items() if source is None or figure.fits(source.columns)
    ]
    for i, name in _names(entry.get("figures")):
        if name not in FIGURES:
            yield Problem(
                (*path, "figures", i),
                shown(name),
                f"not a known figure. {nearest(name, fitting)}",
            )
        elif name not in fitting:
            message = (
                f"cannot show data of source `{dataset['source']}`. "
                f"It can have: {', '.join(fitting)}."
            )
            yield Problem((*path, "figures", i), shown(name), message)


def _first(entry: dict[str, Any]) -> str:
    return next(f"`{key}`" for key in RUN_FIELDS if entry.get(key) is not None)


def _sizes(entry: dict[str, Any], values: dict[str, Any]) -> Iterator[Problem]:
    dataset = _section(_section(values, "datasets"), str(entry.get("dataset")))
    name = entry.get("sampling")
    sampling = _section(_section(values, "sampling"), str(name))
    fit = _section(sampling, "fit")
    for block, key, split in (
        (sampling, "aggregate", "train"),
        (sampling, "reconstructions", "test"),
        (fit, "points", "train"),
    ):
        count, rows = block.get(key), dataset.get(split)
        if _number(count) and _number(rows) and count > rows:
            inner = ("fit", key) if block is fit else (key,)
            message = (
                f"more than the {rows} {split} rows of `{entry.get('dataset')}`. "
                f"Write at most {rows}."
            )
            yield Problem(("sampling", str(name), *inner), shown(count), message)
