"""What a catalogue entry says of a thing: where its code lies, its options, how it is shown.

The catalogue itself is four literal tables in this room: ``families.FAMILIES`` (and
``NETWORKS``), ``sources.SOURCES``, ``metrics.METRICS``, ``figures.FIGURES``. An entry is all
that the package knows of a thing by name; adding one is an entry here, its code, and a test.

Code is named as ``package.module:attribute`` and imported when it is used. The digest of a
job takes the code of the entries that the job names, and nothing else of this room: labels,
directions and hues reach a job in its resolved configuration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Annotated, Any, Union

from pydantic import BaseModel, Discriminator, Tag

from t3vae.errors import ConfigError

__all__ = [
    "IMAGE",
    "IMPORT_PATH",
    "Extractor",
    "Figure",
    "Metric",
    "ModelFamily",
    "NetworkKind",
    "Source",
    "is_import_path",
    "load",
    "tagged",
    "usual",
]

IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
"""``package.module:attribute``."""

IMAGE = -1
"""Stands for the number of columns where a row is an image."""


@dataclass(frozen=True)
class ModelFamily:
    """A family of models.

    Attributes:
        code: its class.
        options: declaration of its parameters.
        label: name in figures and tables, or a function of its parameters that returns it.
        hue: hue of its colours in degrees, see :mod:`t3vae.settings.looks`.
        marker: marker of its curves.
        conditional: whether it needs a class for each row.
        controls: families in which a t model has its controls, by default those with its nu.
    """

    code: str
    options: type[BaseModel]
    label: str | Callable[[Mapping[str, Any]], str]
    hue: float
    marker: str
    conditional: bool = False
    controls: tuple[str, ...] = ()


@dataclass(frozen=True)
class NetworkKind:
    """A kind of network: its function ``build`` and the declaration of its parameters."""

    code: str
    options: type[BaseModel]


@dataclass(frozen=True)
class Source:
    """A source of data.

    Attributes:
        code: its function, ``build(config)`` or ``read(config, root)``.
        options: declaration of its parameters.
        columns: columns of a row of numbers, :data:`IMAGE` for images, None for no rows.
        labelled: whether rows have a class.
        attributes: whether images have binary attributes.
        arrays: names of its arrays; None for the usual ones of its kind.
        size: images at most, those before a long-tail cut included, and bytes of one.
        raw: folder or file of the user that no checksum fixes, with parameters in braces, see
            :mod:`t3vae.datasets.raw_input`; None for none.
    """

    code: str
    options: type[BaseModel]
    columns: int | None = None
    labelled: bool = False
    attributes: bool = False
    arrays: tuple[str, ...] | None = None
    size: tuple[int, int] = (0, 0)
    raw: str | None = None

    @property
    def array_files(self) -> list[str]:
        """Array files of a prepared data set, beside its manifest."""
        splits = ("train", "validation", "test")
        names = list(self.arrays or splits)
        if self.labelled:
            names = [f"{split}{part}" for part in ("", "_labels", "_index") for split in splits]
            names += ["full_train", "full_train_labels"]
        if self.attributes:
            names += [f"{split}_attributes" for split in splits]
        return [f"{name}.npy" for name in names]


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        code: its function, see :mod:`t3vae.metrics`.
        options: declaration of its options.
        label: text of an axis or column.
        better: ``lower``, ``higher``, ``one`` (the truth is 1), ``none`` (no direction).
        data: ``numbers``, ``images``, or ``any``.
        of: what it looks at: ``samples``, ``features`` of images, the ``latent`` space, or
            values that the ``model`` computes on test points.
        extractor: extractor of its features, where the option ``features`` does not say it.
        more: labels and directions of further entries that it writes, by their name.
        needs: ``labelled`` or ``attributes``, where the source must have them.
        usual: whether an experiment that lists no metrics has it, and numbers of columns for
            which alone it has (it may be listed for others).
    """

    code: str
    options: type[BaseModel]
    label: str
    better: str
    data: str = "numbers"
    of: str = "samples"
    extractor: str | None = None
    more: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    needs: str | None = None
    usual: bool | tuple[int, ...] = True

    def entries(self, name: str) -> dict[str, tuple[str, str]]:
        """Return labels and directions of the entries that it writes under its ``name``."""
        return {name: (self.label, self.better), **self.more}

    def fits(self, columns: int | None) -> bool:
        """Say whether it can judge data with so many columns (:data:`IMAGE` for images)."""
        return _fits(self.data, columns)


@dataclass(frozen=True)
class Extractor:
    """An extractor of features of images: its function ``load(options, folder, device)``."""

    code: str


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        code: its function, see :mod:`t3vae.figures`.
        data: ``numbers``, ``images``, ``any``, or ``theory`` (no rows).
        tables: tables that it reads.
        caption: one paragraph of plain text.
        columns: numbers of columns that it can show; empty for every one.
        needs: ``labelled`` or ``attributes``, where the source must have them.
    """

    code: str
    data: str
    tables: tuple[str, ...]
    caption: str
    columns: tuple[int, ...] = ()
    needs: str | None = None

    def fits(self, columns: int | None) -> bool:
        """Say whether it can show data with so many columns (:data:`IMAGE` for images)."""
        return _fits(self.data, columns) and (not self.columns or columns in self.columns)


def _fits(data: str, columns: int | None) -> bool:
    if columns is None or data == "theory":
        return columns is None and data == "theory"
    return data == "any" or (data == "images") == (columns == IMAGE)


def is_import_path(name: Any) -> bool:
    """Say whether a thing is named by an import path.

    Example:
        >>> is_import_path("my_models.cauchy:CauchyVAE"), is_import_path("t3vae")
        (True, False)
    """
    return isinstance(name, str) and IMPORT_PATH.fullmatch(name) is not None


def usual(table: Mapping[str, Metric] | Mapping[str, Figure], source: Source) -> list[str]:
    """Return the metrics or figures that an experiment on data of a source has by default."""
    found = []
    for name, entry in table.items():
        chosen = getattr(entry, "usual", True)
        if isinstance(chosen, tuple):
            chosen = source.columns in chosen
        has = entry.needs is None or getattr(source, entry.needs)
        if chosen and has and entry.fits(source.columns):
            found.append(name)
    return found


def load(table: Mapping[str, Any], name: str, what: str) -> Any:
    """Import the code of an entry, or of an import path, and return it.

    Args:
        table: one of the tables of the catalogue.
        name: a name of the table, or an import path.
        what: what the name stands for, for the message, such as ``"family"``.

    Raises:
        ConfigError: there is no such entry, or it cannot be imported.
    """
    if name not in table and not is_import_path(name):
        raise ConfigError(
            f"{what} {name!r}: must be one of {', '.join(table)}, or an import path such as "
            "my_module:name."
        )
    module, _, attribute = (table[name].code if name in table else name).partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{what} {name!r}: cannot be imported ({error}). Put its folder on PYTHONPATH."
        ) from error


def tagged(table: Mapping[str, Any], key: str, imported: type[BaseModel]) -> Any:
    """Return the type of a block that is told apart by ``key``: an entry, or an import path."""

    def tag(value: Any) -> str | None:
        name = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
        if is_import_path(name):
            return f"imported_{key}"
        return name if isinstance(name, str) else None

    members = [Annotated[entry.options, Tag(name)] for name, entry in table.items()]
    members.append(Annotated[imported, Tag(f"imported_{key}")])
    return Annotated[Union[tuple(members)], Discriminator(tag)]  # noqa: UP007
