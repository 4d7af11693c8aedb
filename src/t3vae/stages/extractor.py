"""The extractor step: train the classifier whose features judge images of one data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from t3vae.datasets.prepared import Prepared
from t3vae.errors import DataError
from t3vae.extractors import classifier
from t3vae.provenance import digests
from t3vae.runtime import accelerator, files, layout

__all__ = ["run"]


def run(root: Path, config: Mapping[str, Any], dataset: str, device: str = "cpu") -> None:
    """Train on all training images of a data set; write weights, accuracy, test features.

    Args:
        root: folder of the contract paths.
        config: resolved configuration: dataset and the settings of the training.
        dataset: name of the data set.
        device: ``cpu`` or ``cuda``.

    Raises:
        DataError: the data set is not prepared, or has neither classes nor attributes.
        DivergedError: the training failed.
    """
    accelerator.usable(device)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    data = Prepared(root, dataset)
    provenance = digests.provenance("extractor", config, data.inputs)
    whole, split, kind = _targets(data.manifest["arrays"], dataset)
    learned = classifier.Data(data.array(split), data.array(whole))
    tested = classifier.Data(data.array("test"), data.array(f"test_{kind}"))
    net = classifier.train(
        learned,
        config["extractor"],
        flip=bool(data.manifest.get("flip")),
        device=device,
        label=f"extractor {dataset}",
    )
    path, record, features = (layout.under(root, p) for p in layout.extractor(dataset))
    targets = "classes" if kind == "labels" else "attributes"
    metadata = {"provenance": digests.canonical_json(provenance), "targets": targets}
    classifier.save(net, path, metadata)
    loaded = classifier.load({}, path.parent, device)
    files.write_npy(features, loaded.extract(tested.images).features.astype(np.float32))
    content = {
        "dataset": dataset,
        "config": dict(config),
        "provenance": provenance,
        "targets": targets,
        "trained_on": {"array": f"{split}.npy", "images": len(learned.images)},
        "test_accuracy": classifier.accuracy(net, tested),
        "test_images": len(tested.images),
    }
    files.write_json(record, content)


def _targets(arrays: Mapping[str, Any], dataset: str) -> tuple[str, str, str]:
    """Return the arrays of targets and images, and whether these are labels or attributes."""
    for kind in ("labels", "attributes"):
        for split in ("full_train", "train"):
            if f"{split}.npy" in arrays and f"{split}_{kind}.npy" in arrays:
                return f"{split}_{kind}", split, kind
    raise DataError(
        f"{layout.manifest(dataset)}: the data set has neither classes nor attributes, so no "
        "classifier can be trained on it. List metrics with `features: inception` only."
    )
