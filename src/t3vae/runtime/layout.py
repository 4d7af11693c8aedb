"""Where every file of the contracts lies, relative to the root folder.

Results are sorted by kind first and experiment second. Rules, stages and checks take
their paths from here, so that a path is written down once.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

__all__ = [
    "extractor",
    "figure",
    "headline",
    "loss_history",
    "manifest",
    "metrics",
    "plan_file",
    "prepared",
    "report",
    "run_dir",
    "run_file",
    "samples",
    "scratch",
    "table",
    "under",
]

RUN_FILES = ("model.safetensors", "config.json", "history.csv", "provenance.json")


def under(root: Path, relative: str) -> Path:
    """Return the contract path ``relative`` below ``root``."""
    return Path(root) / PurePosixPath(relative)


def prepared(dataset: str, name: str = "") -> str:
    """Folder of a prepared data set, or one file in it."""
    return f"data/prepared/{dataset}/{name}" if name else f"data/prepared/{dataset}"


def manifest(dataset: str) -> str:
    """Manifest of a prepared data set.

    Example:
        >>> manifest("univariate")
        'data/prepared/univariate/manifest.json'
    """
    return prepared(dataset, "manifest.json")


def extractor(dataset: str) -> tuple[str, str, str]:
    """Weights, record and test features of the classifier of a data set.

    Example:
        >>> extractor("digits_lt")[1]
        'data/prepared/digits_lt/extractor.json'
    """
    names = ("extractor.safetensors", "extractor.json", "reference_features.npy")
    first, second, third = (prepared(dataset, name) for name in names)
    return first, second, third


def run_dir(experiment: str, model: str, seed: int | str) -> str:
    """Folder of one training run."""
    return f"results/runs/{experiment}/{model}/seed{seed}"


def run_file(experiment: str, model: str, seed: int | str, name: str) -> str:
    """One file of a training run: ``model.safetensors``, ``config.json``, ..."""
    return f"{run_dir(experiment, model, seed)}/{name}"


def samples(experiment: str, model: str, seed: int | str) -> str:
    """Samples, reconstructions and fitted latent distribution of one run."""
    return f"results/samples/{experiment}/{model}/seed{seed}.safetensors"


def metrics(experiment: str, model: str, seed: int | str) -> str:
    """Metrics of one run."""
    return f"results/metrics/{experiment}/{model}/seed{seed}.json"


def table(experiment: str, name: str) -> str:
    """One table of an experiment, name with its ending."""
    return f"results/tables/{experiment}/{name}"


def headline(experiment: str, model: str) -> str:
    """The few numbers of a model that ``dvc metrics`` shows.

    Example:
        >>> headline("univariate", "vae")
        'results/tables/headlines/univariate/vae.json'
    """
    return f"results/tables/headlines/{experiment}/{model}.json"


def loss_history(experiment: str) -> str:
    """Losses of every model by epoch, for ``dvc plots``.

    Example:
        >>> loss_history("univariate")
        'results/tables/histories/univariate.csv'
    """
    return f"results/tables/histories/{experiment}.csv"


def figure(experiment: str, name: str, ending: str) -> str:
    """One figure of an experiment; ``ending`` is ``pdf`` or ``png``."""
    return f"results/figures/{experiment}/{name}.{ending}"


def report() -> str:
    """The report page."""
    return "results/report.html"


def plan_file(stage: str) -> str:
    """What the jobs of a DVC stage are made from; not a result.

    Example:
        >>> plan_file("train")
        'plan/train.json'
    """
    return f"plan/{stage}.json"


def scratch(digest: str) -> str:
    """Resume state of the run with this digest; not a result."""
    return f"scratch/runs/{digest}"
