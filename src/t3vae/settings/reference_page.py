"""The reference page of params.yaml, written from the typed declarations.

``python -m t3vae.settings.reference_page > docs/parameters.md`` writes it anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from t3vae.settings.catalogue import IMAGE
from t3vae.settings.config import LATENTS, Parameters
from t3vae.settings.declarations import allowed, extra, plain, tag_of, variants
from t3vae.settings.figures import FIGURES
from t3vae.settings.metrics import METRICS

__all__ = ["Row", "page", "rows"]


class Row(NamedTuple):
    """One parameter."""

    key: str
    allowed: str
    default: str
    description: str


def rows(root: type[BaseModel] = Parameters, prefix: str = "") -> Iterator[Row]:
    """Yield every parameter below a block.

    ``<name>`` stands for a name that you choose, ``[]`` for an entry of a list, and
    ``(family: vae)`` or the like says which kind of block a key belongs to.
    """
    for name, info in root.model_fields.items():
        key = f"{prefix}{name}"
        words = allowed(info.annotation, info.metadata)
        yield Row(key, words, _default(info), info.description or "")
        yield from _inner(info.annotation, key)


def _inner(annotation: Any, key: str) -> Iterator[Row]:
    annotation = plain(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is dict:
        yield from _inner(arguments[1], f"{key}.<name>")
    elif origin is list:
        yield from _inner(arguments[0], f"{key}[]")
    elif variants(annotation):
        for block in variants(annotation):
            tag = tag_of(block)
            kinds = get_args(plain(block.model_fields[tag].annotation))
            path = "package.module:function" if tag == "kind" else "package.module:Class"
            yield from rows(block, f"{key} ({tag}: {kinds[0] if kinds else path}).")
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from rows(annotation, f"{key}.")


def _default(info: Any) -> str:
    filled = extra(info, "filled")
    if filled is not None:
        return filled
    if info.default is PydanticUndefined:
        return "required"
    if isinstance(info.default, BaseModel):
        return "the defaults below" if type(info.default).model_fields else "{}"
    return json.dumps(info.default)


def page() -> str:
    """Return docs/parameters.md."""
    lines = [_INTRODUCTION]
    section = ""
    for row in rows():
        top = row.key.split(".")[0].split(" ")[0]
        if top != section:
            section = top
            lines += [f"\n## {top}", "", "| key | allowed | default | meaning |"]
            lines += ["| --- | --- | --- | --- |"]
        cells = (f"`{row.key}`", row.allowed, f"`{row.default}`", row.description)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += ["\n## Words", ""]
    for what, names in (
        ("Latent distributions", LATENTS),
        ("Metrics", METRICS),
        ("Figures of a data set with one column", _figures(1)),
        ("Figures of a data set with two columns", _figures(2)),
        ("Figures of a data set of images", _figures(IMAGE)),
        ("Figures of the source `constants`", _figures(None)),
    ):
        lines.append(f"* {what}: {', '.join(f'`{name}`' for name in names)}.")
    return "\n".join([*lines, ""])


def _figures(columns: int | None) -> list[str]:
    return [name for name, figure in FIGURES.items() if figure.fits(columns)]


_INTRODUCTION = """# Parameters

Every number that can change a result stands in `params.yaml`, or is a default of this page, which
is written from the declarations that check the file
(`python -m t3vae.settings.reference_page > docs/parameters.md`).

* `t3vae params` lists the same on the terminal; `t3vae params --json` prints the checked values.
* `t3vae params EXPERIMENT` prints what an experiment resolves to and where each value comes from:
  a line of `params.yaml`, a block that it is `like`, a grid, a default, the command line.
* All problems of a file are reported at once, each with its line, and nothing runs.
* Names of data sets, models and the like are lower-case letters, digits and underscores.
* `like: NAME` in a named block takes the block NAME of the same section. Keys beside it change it:
  nested blocks merge, lists and other values are replaced, and `null` gives a default back. The
  other block may be `like` a third one.
* `grid: {nu: [5, 9]}` in an entry of `models` makes a model of each value, `t3vae_nu5` and
  `t3vae_nu9`; several keys make every combination. In names 2.5 becomes 2p5, and 5.0 becomes 5.
  `pattern: '{name}_{beta}'` gives other names. A block with the name of such a model changes it,
  as in `t3vae_nu9: {nu: 12.0}`. An experiment may name the entry, `t3vae`, for all its models. A
  block that is `like` the entry takes all but its grid.
* An experiment of six lines says `dataset`, `network`, `latent_dim`, `training`, `models` and
  `seeds`. The rest follows from its kind of data (numbers in one column or several, images with
  classes or attributes) and its models: figures and metrics that suit the data, all latent
  distributions, `sigma: 1.0`, the blocks `synthetic` or `images` of `sampling`, and `univariate`,
  `bivariate` or `images` of `evaluation`. The control is the first Gaussian model, of images the
  first one with `beta: matched`. Controls of a t model are its Gaussian ones with the same nu (of
  `c_t3vae` also the t3VAE), where they are in the experiment.
* A control that is no model of its experiment is left out with a note, so that a list of models
  can be made shorter; a name that is no model at all is refused.
* Numbers with an exponent are written with a point and a sign, as in `1.0e-4`: YAML readers
  disagree about `1e-4`, `on`, `010` and `1:30`, so these are refused with the way to write them.
* `snakemake --config suite=paper` replaces a value for one run;
  `--config 'models={t3vae_nu9: {nu: 8.0}}'` replaces one inside a block. Such values are merged
  into the file before `like` and `grid` are expanded.
* `family` may be an import path `package.module:Class` of a custom class; its nested pydantic
  class `Config` declares the parameters.
* `source` of a data set may be an import path `package.module:function` of a custom function that
  returns the arrays (`build(config)`, or `read(config, root)` where it reads files); `rows`,
  `columns` and `labelled` say what they are, its other keys are passed on. What its key
  `folder` or `file` names is followed: other content prepares the data anew.
* `kind` of a network may be an import path `package.module:function` of a custom function that
  builds encoder and decoder; its other keys are its arguments."""

if __name__ == "__main__":
    print(page(), end="")
