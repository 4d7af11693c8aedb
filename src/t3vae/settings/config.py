"""Typed declarations of params.yaml: one place for name, type, range, default and sentence.

The JSON schema, the reference page and the checks all come from these classes. Sections
with a catalogue have their own module: models and networks in ``families``, data sets in
``sources``, options of metrics in ``metrics``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from t3vae.settings.blocks import Block, Colour, Count, Name, Real, Seed, field
from t3vae.settings.families import Family, Network
from t3vae.settings.metrics import Evaluation
from t3vae.settings.sources import AnySource

__all__ = [
    "BLOCKS",
    "LATENTS",
    "RUN_FIELDS",
    "Experiment",
    "ExtractorTraining",
    "FigureStyle",
    "Figures",
    "Inception",
    "LatentFit",
    "Network",
    "Parameters",
    "Resources",
    "Sampling",
    "Training",
]

LATENTS = ("prior", "alternative", "fitted")
"""Latent distributions that a model can be sampled from."""


class Training(Block):
    """Optimiser and length of a training."""

    learning_rate: Real = field("Step size of Adam.", gt=0.0, le=10.0, example="1.0e-3")
    epsilon: Real = field("Term added to Adam's denominator.", 1.0e-8, gt=0.0, example="1.0e-8")
    weight_decay: Real = field("L2 penalty added to the gradient.", 0.0, ge=0.0, example="1.0e-4")
    batch_size: Count = field("Rows in one step.", le=10_000_000, example="1024")
    epochs: Count = field("Largest number of passes over the training rows.", le=1_000_000)
    patience: Count = field(
        "Passes without a better validation loss after which training stops.",
        le=1_000_000,
    )
    clip_norm: Annotated[Real, Field(gt=0.0)] | None = field(
        "Largest norm of the gradient; null leaves it as it is.", None, example="10.0"
    )
    precision: Literal["float32", "bfloat16"] = field(
        "Number format that encoder and decoder compute in; bfloat16 is for kind `cnn`.",
        "float32",
    )


class LatentFit(Block):
    """Fit of a t mixture to the encodings of the training rows (the distribution `fitted`)."""

    points: Count = field("Encodings used by the fit.", 50_000, ge=10, le=100_000_000)
    max_components: Count = field("Largest number of components tried.", 6, le=1000)
    held_out: Real = field(
        "Fraction of the encodings kept aside to choose the number of components.",
        0.2,
        gt=0.0,
        lt=1.0,
    )
    iterations: Count = field("Largest number of EM iterations.", 100, le=1_000_000)
    tolerance: Real = field(
        "EM stops when the mean log-likelihood rises by less than this.", 1.0e-7, gt=0.0
    )


class Sampling(Block):
    """What is drawn from a trained model."""

    samples: Count = field("Rows generated from each latent distribution.", le=100_000_000)
    aggregate: Count = field("Training rows encoded for the aggregate posterior.", le=100_000_000)
    reconstructions: Count = field("Test rows reconstructed, from the first.", le=100_000_000)
    fit: LatentFit = field("Fit of the distribution `fitted`.")


class Resources(Block):
    """What one job of an experiment may take; no part of any configuration."""

    mem_mb: Count = field("Memory in megabytes.", 4000, le=10_000_000)
    runtime: Count = field("Longest time in minutes.", 720, le=100_000)


class ExtractorTraining(Block):
    """Training of the classifier whose features judge images of a data set."""

    width: Count = field("Channels of the first layer.", 32, le=4096)
    features: Count = field("Features: units of the last hidden layer.", 128, le=65536)
    epochs: Count = field("Passes over all training images.", 10, le=100_000)
    batch_size: Count = field("Images in one step.", 128, le=1_000_000)
    learning_rate: Real = field("Largest step size of AdamW.", 3.0e-3, gt=0.0, le=10.0)
    weight_decay: Real = field("Decay of the weights in AdamW.", 5.0e-4, ge=0.0, le=10.0)
    seed: Seed = field("Seed of initialisation and order.", 0)


class Inception(Block):
    """Published weights of Inception-v3, for the metric `fid`."""

    weights: str | None = field("Path of the published file; null where there is none.", None)
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = field(
        "SHA-256 of that file.", None
    )
    download: Annotated[bool, Field(strict=True)] = field(
        "Fetch the published file to that path where it is missing and the machine is connected.",
        True,
    )


class Experiment(Block):
    """A data set, and the models, seeds, metrics and figures of it."""

    dataset: Name = field("Name in `datasets`.")
    figures: list[str] = field("Figures to draw.", min_length=1, filled="by kind of data")
    models: list[str] | None = field("Names in `models`.", None, min_length=1)
    seeds: list[Seed] | None = field("Training seeds, one run each.", None, min_length=1)
    network: Name | None = field("Name in `networks`.", None)
    latent_dim: Annotated[Count, Field(le=65536)] | None = field(
        "Dimension of the latent space (m in the paper).", None, example="1"
    )
    sigma: Annotated[Real, Field(gt=0.0, le=1.0e6)] | None = field(
        "Scale of the decoder (standard-deviation-like, not a variance).",
        None,
        because="it is the scale of the decoder's distribution",
        example="0.1",
        filled="1.0",
    )
    training: Name | None = field("Name in `training`.", None)
    sampling: Name | None = field("Name in `sampling`.", None, filled="by kind of data")
    evaluation: Name | None = field("Name in `evaluation`.", None, filled="by kind of data")
    latents: list[Literal["prior", "alternative", "fitted"]] | None = field(
        "Latent distributions to generate from.", None, min_length=1, filled="all"
    )
    metrics: list[str] | None = field(
        "Metrics to compute.", None, min_length=1, filled="by kind of data"
    )
    control: Name | None = field(
        "Model that the others are compared with, in pairs.", None, filled="a Gaussian model"
    )
    controls: dict[Name, Annotated[list[Name], Field(min_length=1)]] | None = field(
        "Models that a model is compared with instead of `control`, by its name.",
        None,
        filled="of t models those with the same nu",
    )
    resources: Resources | None = field("What one job may take.", None)


RUN_FIELDS = (
    *("models", "seeds", "network", "latent_dim", "sigma"),
    *("training", "sampling", "evaluation", "latents", "metrics"),
)
"""What an experiment with models must have; one without models has none of them."""


BLOCKS = {
    "dataset": "datasets",
    "network": "networks",
    "training": "training",
    "sampling": "sampling",
    "evaluation": "evaluation",
}
"""What names a block in an experiment, and the section of the block."""


class FigureStyle(Block):
    """Measures of all figures."""

    column_width_mm: Real = field("Width of a figure in one column.", 85.0, ge=60.0, le=200.0)
    page_width_mm: Real = field("Width of a figure over the page.", 180.0, ge=85.0, le=400.0)
    font_size: Real = field(
        "Size of text in points.",
        7.5,
        ge=7.0,
        le=24.0,
        because="smaller text is hard to read in print",
    )
    line_width: Real = field("Width of curves in points.", 1.2, gt=0.0, le=10.0)
    dpi: Count = field("Resolution of PNG files.", 200, ge=72, le=1200)


class Figures(Block):
    """Look of the figures; nothing here reruns a training or an evaluation."""

    style: FigureStyle = field("Measures.", FigureStyle())
    colours: dict[str, Colour] = field(
        "Colours, as '#rrggbb', of models that shall not have that of their family.",
        {},
        example="'#0072B2'",
    )


class Parameters(Block):
    """Everything that can change a result."""

    suite: Name = field("Suite that a plain run makes; a name in `suites`.")
    suites: dict[Name, Annotated[list[Name], Field(min_length=1)]] = field(
        "Lists of experiments.", min_length=1
    )
    device: Literal["auto", "cpu", "cuda"] = field(
        "Where models run; no part of any run's configuration.", "auto"
    )
    datasets: dict[Name, AnySource] = field("Data sets, by name.", min_length=1)
    networks: dict[Name, Network] = field("Networks, by name.")
    models: dict[Name, Family] = field("Models, by name.")
    training: dict[Name, Training] = field("Training settings, by name.")
    sampling: dict[Name, Sampling] = field("Sampling settings, by name.")
    extractors: dict[Name, ExtractorTraining] = field(
        "Classifiers for metrics of images, by the name of their data set.", {}
    )
    inception: Inception = field("Weights of Inception-v3.", Inception())
    evaluation: dict[Name, Evaluation] = field("Options of the metrics, by name.")
    experiments: dict[Name, Experiment] = field("Experiments, by name.", min_length=1)
    figures: Figures = field("Look of the figures.", Figures())
    _notes: tuple[str, ...] = PrivateAttr(())

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of the experiments, a sentence each."""
        return self._notes
