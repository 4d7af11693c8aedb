"""``make bench``: CPU seconds of the main steps on one thread."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks import frechet, image_step
from benchmarks.reference import Reference
from benchmarks.timing import compare, process, table
from t3vae import models
from t3vae.datasets.synthetic import distribution
from t3vae.metrics import kernel
from t3vae.runtime.progress import bar
from t3vae.runtime.seeding import numpy_generator
from t3vae.training import loop

ROOT = Path(__file__).resolve().parents[1]
DISTRIBUTION = {
    "source": "t_mixture_1d",
    "components": [
        {"weight": 0.6, "mean": -2.0, "scale": 1.0, "nu": 5.0},
        {"weight": 0.4, "mean": 2.0, "scale": 1.0, "nu": 5.0},
    ],
}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--reference", type=Path, help="checkout of the authors' repository")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--only", choices=["numbers", "images", "frechet"], help="measure one of the tables"
    )
    parser.add_argument(
        "--features", type=int, default=10_000, help="rows of features for the Frechet distance"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if arguments.only in (None, "frechet"):
        print(
            table(frechet.rows(arguments.features, repeats=min(arguments.repeats, 3))), flush=True
        )
    if arguments.only in (None, "images"):
        found = image_step.rows(checkout=arguments.reference, repeats=min(arguments.repeats, 3))
        print(image_step.table(found), flush=True)
    if arguments.only not in (None, "numbers"):
        return
    data = {
        split: distribution(DISTRIBUTION)
        .sample(size, numpy_generator(0, f"benchmark/{split}"))
        .astype(np.float32)
        for split, size in (("train", 200_000), ("validation", 200_000), ("test", 500_000))
    }
    reference = None
    if arguments.reference:
        reference = Reference(arguments.reference, *data.values(), nu=9.0, sigma=0.1)
    tensors = {name: torch.from_numpy(value) for name, value in data.items()}
    few = tensors["validation"][:10]

    def fit(family: str, validation: torch.Tensor, **given: float) -> None:
        model = models.build({"family": family, **given}, [1], 1, sigma=0.1)
        loop.fit(model, tensors["train"], validation, epochs=1, weight_decay=1e-4)

    a, b = data["test"][:100_000], data["validation"][:100_000]
    repeats = arguments.repeats
    rows = []
    jobs = [
        lambda: compare(
            "training epoch, t3VAE, 200k rows",
            lambda: fit("t3vae", few, nu=9.0),
            reference.epoch if reference else None,
            repeats=repeats,
        ),
        lambda: compare(
            "model-epoch: training, validation (reference: and test)",
            lambda: fit("t3vae", tensors["validation"], nu=9.0),
            reference.model_epoch if reference else None,
            repeats=repeats,
        ),
        *[
            lambda family=family, given=given: compare(
                f"training epoch, {family}", lambda: fit(family, few, **given), repeats=repeats
            )
            for family, given in (
                ("vae", {}), ("student_t_vae", {}), ("de_vae", {"nu": 9.0}), ("vae_st", {"nu": 9.0})
            )
        ],
        lambda: compare(
            "linear MMD test, 100k points, 999 samples of the null",
            lambda: kernel.mmd_linear_test(a, b, permutations=999, rng=numpy_generator(0, "bench")),
            (lambda: reference.linear_test(a, b, 999)) if reference else None,
            repeats=min(repeats, 3),
            note="null by sign flips; reference: sorted random splits",
        ),
        lambda: compare(
            "quadratic MMD test, 10k + 10k points, 999 permutations",
            lambda: kernel.mmd_unbiased_test(
                a[:10_000], b[:10_000], permutations=999, rng=numpy_generator(0, "bench")
            ),
            repeats=1,
        ),
        lambda: process(
            "`t3vae --help`, wall", [sys.executable, "-m", "t3vae", "--help"], repeats=repeats
        ),
        lambda: process(
            "`snakemake -n`, wall",
            [sys.executable, "-m", "snakemake", "-n", "--quiet", "--directory", "build/bench"],
            repeats=repeats,
            note="nothing made yet: every job of the suite is planned",
        ),
    ]  # fmt: skip
    with bar(len(jobs), "bench", unit="row") as progress:
        for job in jobs:
            rows.append(job())
            progress.update(1)
    print(table(rows))


if __name__ == "__main__":
    main()
