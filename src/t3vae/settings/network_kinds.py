"""Parameters of each kind of network; a network of params.yaml names its kind.

``kind`` may also be an import path ``package.module:function`` of a function outside this
package that builds encoder and decoder; its other keys become its arguments.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from t3vae.settings.blocks import Block, Count, Real, field
from t3vae.settings.families import IMPORT_PATH, is_import_path

__all__ = ["NETWORKS", "Cnn", "ImportedNetwork", "Mlp", "Network"]


class Mlp(Block):
    """Multilayer perceptron of encoder and decoder."""

    kind: Literal["mlp"] = field("Kind of network.")
    hidden: list[Annotated[Count, Field(le=65536)]] = field(
        "Units of each hidden layer, from the data to the latent space.",
        min_length=1,
        max_length=32,
    )
    negative_slope: Real = field(
        "Slope of LeakyReLU for negative inputs.", 0.01, ge=0.0, lt=1.0, example="0.01"
    )


class Cnn(Block):
    """Convolutional encoder and decoder of images (Kim et al. 2024)."""

    kind: Literal["cnn"] = field("Kind of network.")
    channels: list[Annotated[Count, Field(le=65536)]] = field(
        "Channels after each block; a block halves the image.",
        [128, 256, 512, 1024, 2048],
        min_length=1,
        max_length=12,
    )
    width: Real = field("Factor of all channels.", 1.0, gt=0.0, le=64.0, example="0.25")


class ImportedNetwork(Block):
    """A function of one's own that builds encoder and decoder."""

    model_config = ConfigDict(extra="allow")

    kind: str = field("Import path `package.module:function`.", pattern=f"^{IMPORT_PATH.pattern}$")


NETWORKS: dict[str, type[Block]] = {"mlp": Mlp, "cnn": Cnn, "import_network": ImportedNetwork}
"""Kinds of networks, by tag."""


def _tag(value: Any) -> str | None:
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    if is_import_path(kind):
        return "import_network"
    return kind if isinstance(kind, str) else None


Network = Annotated[
    Annotated[Mlp, Tag("mlp")]
    | Annotated[Cnn, Tag("cnn")]
    | Annotated[ImportedNetwork, Tag("import_network")],
    Discriminator(_tag),
]
"""A network of params.yaml, told apart by ``kind``."""
