"""What an experiment has that it does not say: it follows its kind of data and its models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from t3vae.settings.catalogue import IMAGE, Source, usual
from t3vae.settings.config import RUN_FIELDS
from t3vae.settings.families import FAMILIES
from t3vae.settings.figures import FIGURES
from t3vae.settings.metrics import METRICS
from t3vae.settings.problems import Path_, dotted
from t3vae.settings.sources import source_of
from t3vae.settings.yaml_reader import UNKNOWN

__all__ = ["Defaults", "by_data"]

BY_DATA = ("figures", "metrics", "sampling", "evaluation")

ALWAYS: dict[str, Any] = {"latents": ["prior", "alternative", "fitted"], "sigma": 1.0}
"""Defaults of every experiment with models."""


def by_data(source: Source) -> tuple[str, dict[str, Any]]:
    """Return the kind of data of a source in words, and the defaults of experiments with it.

    The catalogue says which figures and metrics; `sampling` and `evaluation` name blocks.

    Example:
        >>> from t3vae.settings.sources import SOURCES
        >>> kind, defaults = by_data(SOURCES["celeba"])
        >>> kind, defaults["figures"][3:5], defaults["sampling"]
        ('images with attributes', ['paired', 'attributes'], 'images')
    """
    found: dict[str, Any] = {"figures": usual(FIGURES, source)}
    if source.columns is None:
        return "curves", found
    found["metrics"] = usual(METRICS, source)
    if source.columns == IMAGE:
        found["sampling"], found["evaluation"] = "images", "images"
        with_ = " with classes" if source.labelled else " with attributes" * source.attributes
        return f"images{with_}", found
    found["sampling"] = "synthetic"
    found["evaluation"] = "univariate" if source.columns == 1 else "bivariate"
    return f"numbers in {'one column' if source.columns == 1 else 'several columns'}", found


class Defaults:
    """Defaults written into the experiments of expanded values.

    Controls that are no models of their experiment are left out. Names that are no models at
    all stay, and the checks refuse them.

    Args:
        values: the expanded values; their experiments are replaced.
        written: path in the file of a value.

    Attributes:
        rules: the rule that each default follows, by path.
        notes: what was left out of an experiment that says it itself.
    """

    def __init__(self, values: dict[str, Any], written: Callable[[Path_], Path_]) -> None:
        self.rules: dict[Path_, str] = {}
        self.notes: list[str] = []
        self._values = values
        self._written = written
        experiments = values.get("experiments")
        if isinstance(experiments, dict):
            values["experiments"] = {
                name: self._experiment(("experiments", name), dict(entry))
                if isinstance(entry, dict)
                else entry
                for name, entry in experiments.items()
            }

    def _experiment(self, path: Path_, entry: dict[str, Any]) -> dict[str, Any]:
        source = source_of(self._block("datasets", entry.get("dataset")))
        kind, defaults = "", dict.fromkeys(BY_DATA, UNKNOWN)  # the wrong source is told elsewhere
        if source is not None:
            kind, defaults = by_data(source)
        trains = kind != "curves" and any(entry.get(key) is not None for key in RUN_FIELDS)
        for key, value in defaults.items():
            if trains or key == "figures":
                self._set(path, entry, key, value, f"default of {kind}")
        if trains:
            for key, value in ALWAYS.items():
                self._set(path, entry, key, value, "default")
            models = entry.get("models")
            listed = [m for m in models if isinstance(m, str)] if isinstance(models, list) else []
            self._control(path, entry, listed, images=kind.startswith("images"))
            self._controls(path, entry, listed)
        return entry

    def _set(self, path: Path_, entry: dict[str, Any], key: str, value: Any, rule: str) -> None:
        if entry.get(key) is None:
            entry[key] = value
            self.rules[*path, key] = rule

    def _block(self, section: str, name: Any) -> dict[str, Any]:
        blocks = self._values.get(section)
        block = blocks.get(name) if isinstance(blocks, dict) and isinstance(name, str) else None
        return block if isinstance(block, dict) else {}

    def _control(
        self, path: Path_, entry: dict[str, Any], listed: Sequence[str], *, images: bool
    ) -> None:
        if self._left_out(entry.get("control"), (*path, "control"), listed):
            entry["control"] = None
        gaussian = [m for m in listed if self._block("models", m).get("family") == "vae"]
        matched = [m for m in gaussian if self._block("models", m).get("beta") == "matched"]
        if images and matched:
            self._set(path, entry, "control", matched[0], "default: the first matched model")
        elif gaussian:
            self._set(path, entry, "control", gaussian[0], "default: the first Gaussian model")

    def _controls(self, path: Path_, entry: dict[str, Any], listed: Sequence[str]) -> None:
        given = entry.get("controls")
        if given is not None and not isinstance(given, dict):
            return
        path, kept = (*path, "controls"), {}
        for model, controls in (given or {}).items():
            here = (*path, model)
            if controls is None or self._left_out(model, here, listed):
                continue
            if isinstance(controls, list):
                left = [c for c in controls if not self._left_out(c, here, listed)]
                controls = left if left or not controls else None
            if controls is not None:
                kept[model] = controls
        said = {model: self._block("models", model) for model in listed}
        for model, block in said.items():
            family, nu = block.get("family"), block.get("nu")
            known = FAMILIES.get(family) if isinstance(family, str) else None
            families = known.controls if known else ()
            same = [other for other in listed if other != model and said[other].get("nu") == nu]
            controls = [other for f in families for other in same if said[other].get("family") == f]
            if controls and nu is not None:
                self._set(path, kept, model, controls, "default: models with the same nu")
        entry["controls"] = kept or None

    def _left_out(self, model: Any, path: Path_, listed: Sequence[str]) -> bool:
        """Say whether a model exists and is not in the experiment; note it where it was written."""
        known = self._values.get("models")
        if not isinstance(model, str) or not isinstance(known, dict):
            return False
        if model in listed or model not in known:
            return False
        if self._written(path)[:2] == path[:2]:
            text = f"{dotted(path)}: left out, since {model} is not in the experiment's models"
            self.notes.append(text)
        return True
