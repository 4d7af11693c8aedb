"""Checks between the parts of params.yaml: names that must exist, sums, duplicates, sizes.

They work on the plain values and pass over what the typed declarations already refuse,
so that every problem of a file is found in one pass.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Container, Iterator
from typing import Any, TypeGuard

from t3vae.settings.catalogue import IMAGE
from t3vae.settings.config import BLOCKS, RUN_FIELDS
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
        place = ("figures", "colours", model)
        yield from _known(place, model, _section(values, "models"), "not a model", key=True)


def _known(
    path: tuple[Any, ...], name: str, known: Collection[str], what: str, *, key: bool = False
) -> Iterator[Problem]:
    """Yield the problem of a name that is not known; a key of the file is not shown once more."""
    if name not in known:
        yield Problem(path, None if key else shown(name), f"{what}. {nearest(name, known)}")


def _extractor(name: str, values: dict[str, Any]) -> Iterator[Problem]:
    known = _section(values, "datasets")
    yield from _known(("extractors", name), name, known, "not a data set", key=True)
    source = source_of(_section(known, name))
    if source is not None and source.columns != IMAGE:
        message = f"the data set has source `{known[name]['source']}`, which has no images."
        yield Problem(("extractors", name), None, f"{message} Remove it.")


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
        if not isinstance(item, str) and not _number(item):
            continue
        if item in seen:
            message = f"a duplicate of entry [{seen[item]}]. Remove it."
            yield Problem((*path, i), shown(item), message)
        seen.setdefault(item, i)


def _suites(values: dict[str, Any]) -> Iterator[Problem]:
    suites, suite = _section(values, "suites"), values.get("suite")
    if isinstance(suite, str) and suites:
        yield from _known(("suite",), suite, suites, "not a suite")
    experiments = _section(values, "experiments")
    for name, members in suites.items():
        yield from _distinct(("suites", name), members)
        for i, member in _names(members):
            yield from _known(("suites", name, i), member, experiments, "not an experiment")


def _dataset(path: tuple[str, ...], entry: dict[str, Any]) -> Iterator[Problem]:
    components = entry.get("components")
    weights = [
        c.get("weight") if isinstance(c, dict) else None
        for c in (components if isinstance(components, list) else ())
    ]
    numbers = [weight for weight in weights if _number(weight) and weight > 0]
    if numbers and len(numbers) == len(weights):
        total = math.fsum(numbers)
        if abs(total - 1.0) > 1e-9:
            message = f"the weights sum to {total:.10g}, not to 1. Change one of them."
            yield Problem((*path, "components"), None, message)
    seen: dict[Any, str] = {}
    for split, seed in _section(entry, "seeds").items():
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
        for low, high in (("variance_min", "variance_max"), ("excess_min", "excess_max")):
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
        message = f"is missing: {matched[0]} = matched is that of the t3VAE with this nu."
        yield Problem((*path, "nu"), None, f"{message} Add nu: 10.0.")
    if not matched and _number(entry.get("nu")):
        message = "has no effect: neither beta nor prior_scale is `matched`. Remove it."
        yield Problem((*path, "nu"), shown(entry["nu"]), message)


def _experiment(
    path: tuple[str, ...], entry: dict[str, Any], values: dict[str, Any]
) -> Iterator[Problem]:
    for key, section in BLOCKS.items():
        if isinstance(name := entry.get(key), str):
            known = _section(values, section)
            yield from _known((*path, key), name, known, f"not in `{section}`")
    models = _section(values, "models")
    for i, model in _names(entry.get("models")):
        yield from _known((*path, "models", i), model, models, "not a known model")
    for key in ("models", "seeds", "metrics", "latents", "figures"):
        yield from _distinct((*path, key), entry.get(key))
    present = [key for key in RUN_FIELDS if entry.get(key) is not None]
    for key in RUN_FIELDS if present else ():
        if entry.get(key) is None:
            value = "null" if key in entry else None
            yield Problem((*path, key), value, f"is missing; `{present[0]}` needs it. Add it.")
    if isinstance(control := entry.get("control"), str):
        yield from _known((*path, "control"), control, models, "not a known model")
    yield from _controls((*path, "controls"), entry, models)
    dataset = _section(_section(values, "datasets"), str(entry.get("dataset")))
    yield from _networks(path, entry, dataset, values)
    yield from _of_data(path, entry, dataset, values, bool(present))


def _controls(
    path: tuple[str, ...], entry: dict[str, Any], known: dict[str, Any]
) -> Iterator[Problem]:
    for model, controls in _section(entry, "controls").items():
        yield from _known((*path, model), model, known, "not a known model", key=True)
        for i, control in _names(controls):
            if control == model:
                message = "the model itself. Name another, or remove it."
                yield Problem((*path, model, i), shown(control), message)
            else:
                yield from _known((*path, model, i), control, known, "not a known model")
        yield from _distinct((*path, model), controls)


def _networks(
    path: tuple[str, ...], entry: dict[str, Any], dataset: dict[str, Any], values: dict[str, Any]
) -> Iterator[Problem]:
    """Yield models and networks that do not fit the data or the training."""
    source, name, training = source_of(dataset), entry.get("network"), entry.get("training")
    columns = source.columns if source else None
    without_classes = source is not None and columns is not None and not source.labelled
    for i, model in _names(entry.get("models")) if without_classes else ():
        family = _section(_section(values, "models"), model).get("family")
        if isinstance(family, str) and family in FAMILIES and FAMILIES[family].conditional:
            message = (
                f"of the conditional family {family}, but data of source "
                f"`{dataset['source']}` have no classes. Remove it."
            )
            yield Problem((*path, "models", i), shown(model), message)
    kind = _section(_section(values, "networks"), str(name)).get("kind")
    if kind == "cnn" and columns not in (None, IMAGE):
        message = f"of kind cnn, but source `{dataset['source']}` has no images."
        yield Problem((*path, "network"), shown(name), f"{message} Use one of kind mlp.")
    chosen = _section(_section(values, "training"), str(training))
    if kind == "mlp" and chosen.get("precision") == "bfloat16":
        message = f"has precision bfloat16, which network {name} of kind mlp cannot use."
        yield Problem((*path, "training"), shown(training), message)


def _of_data(
    path: tuple[str, ...],
    entry: dict[str, Any],
    dataset: dict[str, Any],
    values: dict[str, Any],
    trains: bool,
) -> Iterator[Problem]:
    """Yield metrics and figures that do not fit the data, and what the data lack for them."""
    source, data = source_of(dataset), entry.get("dataset")
    columns = source.columns if source else None
    of_source = f"data of source `{dataset.get('source')}`"
    metrics = [n for n, metric in METRICS.items() if columns is None or metric.fits(columns)]
    figures = [n for n, figure in FIGURES.items() if source is None or figure.fits(columns)]
    for key, table, fitting, near, verb in (
        ("metrics", METRICS, metrics, METRICS, "judge"),
        ("figures", FIGURES, figures, figures, "show"),
    ):
        for i, name in _names(entry.get(key)):
            message = f"cannot {verb} {of_source}. It can have: {', '.join(fitting)}."
            if name not in table:
                message = f"not a known {key[:-1]}. {nearest(name, near)}"
            if name not in fitting:
                yield Problem((*path, key, i), shown(name), message)
    if source is not None and columns is None and trains:
        key = next(key for key in RUN_FIELDS if entry.get(key) is not None)
        message = f"nothing trains on the source `{dataset['source']}`."
        yield Problem((*path, "dataset"), shown(data), f"{message} Change it, or remove `{key}`.")
    if columns is not None and not trains:
        message = "is missing; a data set with rows needs models, seeds and the rest. Add it."
        yield Problem((*path, "models"), None, message)
    named = [name for _, name in _names(entry.get("metrics"))]
    options = _section(_section(values, "evaluation"), str(entry.get("evaluation")))
    needed = extractors(named, options) if columns == IMAGE else []
    if "classifier" in needed and data not in _section(values, "extractors"):
        message = f"is missing: metrics of `{'.'.join(path)}` look through its classifier."
        problem = f"{message} Add extractors.{data}: {{}}."
        yield Problem(("extractors", str(data)), None, problem)


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
