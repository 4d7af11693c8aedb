"""Metrics of a run on images: features, then statistics, then numbers for every group.

Reconstructions are compared with the test images they are of, generated images with all
test images. An image belongs to a class because the data or a conditional model say so;
what an unconditional model draws is sorted by the classifier of real data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from t3vae import metrics
from t3vae.datasets.prepared import Prepared
from t3vae.errors import DataError
from t3vae.extractors import Extracted, Extractor, MissingWeightsError, load
from t3vae.metrics import latent_space, per_class
from t3vae.metrics.features import Features
from t3vae.metrics.reference import entry, options_of
from t3vae.provenance import digests
from t3vae.runtime import files, layout, seeding
from t3vae.settings.metrics import METRICS
from t3vae.training import checkpoint

__all__ = ["RECONSTRUCTION", "entries"]

Entry = dict[str, Any]
Rows = NDArray[np.intp]

RECONSTRUCTION = "reconstruction"
"""Stands in the place of the latent distribution in entries of reconstructions."""

BLOCK = 256
SHOWN = 6


def entries(
    root: Path,
    config: Mapping[str, Any],
    folder: Path,
    samples: Mapping[str, NDArray[Any]],
    data: Prepared,
    device: str,
) -> tuple[list[Entry], dict[str, str], dict[str, Any]]:
    """Return the entries of one run, digests of what else was read, and samples to show.

    Args:
        root: folder of the contract paths.
        config: resolved configuration: latents, metrics, evaluation, extractors, seed.
        folder: folder of the run.
        samples: its samples.
        data: the prepared data set.
        device: where networks compute.

    Raises:
        DataError: an input is missing, damaged or of another shape than the data.
    """
    run = _Run(root, config, folder, samples, data, device)
    found = [*run.of_errors(), *run.of_latents(), *run.of_features()]
    return [{"split": "test", **item} for item in found], run.inputs, run.shown_samples


class _Run:
    def __init__(
        self,
        root: Path,
        config: Mapping[str, Any],
        folder: Path,
        samples: Mapping[str, NDArray[Any]],
        data: Prepared,
        device: str,
    ) -> None:
        self.root, self.config, self.folder, self.data = root, config, folder, data
        self.samples, self.device, self.inputs = samples, device, dict[str, str]()
        self.names = list(config["metrics"])
        self.test = data.array("test")
        self.classes = list(data.manifest.get("classes") or ())
        self.labels = self._optional("test_labels")
        self.attributes = self._optional("test_attributes")
        for name in (
            "reconstructions",
            *(f"samples/{latent}" for latent in config["latents"]),
        ):
            images = samples[name]
            if images.dtype != np.uint8 or images.shape[1:] != self.test.shape[1:]:
                raise DataError(
                    f"samples of {folder.name}: {name} is {images.dtype} {images.shape}, but "
                    f"images are uint8 [N, {', '.join(map(str, self.test.shape[1:]))}]. "
                    "Run `t3vae sample` again."
                )
        self.shown_samples: dict[str, dict[str, list[int]]] = {}
        self.shown = min(len(samples["reconstructions"]), len(self.test))

    def _optional(self, name: str) -> NDArray[Any] | None:
        return self.data.array(name) if f"{name}.npy" in self.data.manifest["arrays"] else None

    def _groups(self, labels: NDArray[Any] | None) -> dict[str, Rows]:
        if labels is None or not self.classes:
            return {}
        return per_class.class_groups(labels, len(self.classes), self.data.manifest.get("groups"))

    def _test_groups(self, count: int) -> dict[str, Rows]:
        """Return the groups of the first ``count`` test images."""
        found = self._groups(None if self.labels is None else self.labels[:count])
        if self.attributes is not None:
            names = list(self.data.manifest["attributes"])
            found |= per_class.attribute_groups(self.attributes[:count], names)
        return found

    # -- pixels ------------------------------------------------------------------------

    def of_errors(self) -> Iterator[Entry]:
        """Yield the entries of the reconstruction error."""
        if "reconstruction_error" in self.names:
            groups = {"all": np.arange(self.shown), **self._test_groups(self.shown)}
            pairs = self.samples["reconstructions"][: self.shown], self.test[: self.shown]
            for item in per_class.error_entries(*pairs, groups, 255.0):
                yield {"latent": RECONSTRUCTION, **item}

    # -- latent space ------------------------------------------------------------------

    @torch.no_grad()
    def of_latents(self) -> Iterator[Entry]:
        """Yield the entries of the latent space."""
        latents = [
            latent for latent in self.config["latents"] if f"latent/{latent}" in self.samples
        ]
        if "latent_radius" in self.names:
            encodings = self.samples["latent/aggregate"]
            labels = self.samples.get("labels/aggregate")
            if labels is None and (train := self._optional("train_labels")) is not None:
                labels = train[: len(encodings)]
            groups = {"all": np.arange(len(encodings)), **self._groups(labels)}
            for latent in latents:
                generated = self.samples[f"latent/{latent}"]
                for item in latent_space.radius_entries(encodings, generated, groups):
                    yield {"latent": latent, **item}
        if "active_units" in self.names:
            means = self._means()
            for latent in latents:
                if latent != "fitted":  # which is no distribution that encodings are pulled to
                    for item in latent_space.unit_entries(means, self.samples[f"latent/{latent}"]):
                        yield {"latent": latent, **item}
        if "entropy_weight" in self.names:
            weights = [net.entropy_weight(latent) for net, latent in self._posteriors()]
            known = None if weights[0] is None else torch.cat(weights).cpu().double().numpy()
            for item in latent_space.entropy_entries(known):
                yield {"latent": RECONSTRUCTION, **item}

    @torch.no_grad()
    def _means(self) -> NDArray[Any]:
        """Return posterior means of test images [N, m]."""
        means = [_mean(latent).cpu().float().numpy() for _, latent in self._posteriors()]
        return np.concatenate(means)

    def _posteriors(self) -> Iterator[tuple[Any, Any]]:
        """Yield the model and q(z | x) of one block of test images after another."""
        net = checkpoint.load_run(self.folder, self.device)
        count = options_of("active_units", self.config["evaluation"])["points"]
        with seeding.torch_stream(self.config["seed"], "evaluate/active_units"):
            for start in range(0, min(count, len(self.test)), BLOCK):
                block = np.array(self.test[start : min(start + BLOCK, count)])
                x = torch.from_numpy(block).to(self.device).float() / 255.0
                arguments = [x]
                if getattr(net, "conditional", False) and self.labels is not None:
                    rows = np.array(self.labels[start : start + len(block)])
                    arguments.append(torch.from_numpy(rows).to(self.device))
                yield net, net.encode(*arguments)

    # -- features ----------------------------------------------------------------------

    def of_features(self) -> Iterator[Entry]:
        """Yield the entries of all metrics of features, reconstructions first."""
        wanted = [name for name in self.names if METRICS[name].of == "features"]
        through = {name: self._through(name) for name in wanted}
        loaded: dict[str, Extractor] = {}
        absent: dict[str, str] = {}
        for name in self.config["extractors"]:
            try:
                loaded[name] = self._load(name)
            except MissingWeightsError as error:
                absent[name] = str(error)
        for name in wanted:
            if through[name] in absent:
                reason = absent[through[name]]
                for latent in (RECONSTRUCTION, *self.config["latents"]):
                    missing = entry(name, "all", None, 0, through[name], reason=reason)
                    yield {"latent": latent, **missing}
        here = [name for name in wanted if through[name] in loaded]
        if here:
            yield from self._compare(here, through, loaded)

    def _through(self, name: str) -> str:
        if name == "fid":
            return "inception"
        chosen = options_of(name, self.config["evaluation"]).get("features", "classifier")
        return str(chosen)

    def _load(self, name: str) -> Extractor:
        options = self.config["extractors"][name]
        folder = layout.under(self.root, layout.prepared(self.data.dataset))
        loaded = load(name, options, folder, self.device)
        if name == "classifier":
            for path in layout.extractor(self.data.dataset):
                self.inputs[path] = digests.file_digest(layout.under(self.root, path))
        return loaded

    def _compare(
        self, names: list[str], through: Mapping[str, str], loaded: Mapping[str, Extractor]
    ) -> Iterator[Entry]:
        references = {
            name: Features(
                self._of_test(name, extractor),
                extractor.protocol,
                groups=self._test_groups(len(self.test)),
            )
            for name, extractor in loaded.items()
        }
        images = self.samples["reconstructions"][: self.shown]
        groups = self._test_groups(self.shown)
        labels = None if self.labels is None else self.labels[: self.shown]
        sets = self._sets(images, loaded, labels, groups, "classes of the test images")
        paired = references
        if self.shown < len(self.test):
            paired = {
                name: Features(reference.points[: self.shown], reference.extractor, groups=groups)
                for name, reference in references.items()
            }
        own = [name for name in names if name != "class_mass"]
        yield from self._entries(own, through, sets, paired, RECONSTRUCTION)
        seen: dict[str, list[Entry]] = {}
        for latent in self.config["latents"]:
            generated = self.samples[f"samples/{latent}"]
            # a model without an alternative prior samples from its prior twice
            twin = next(
                (o for o in seen if np.array_equal(generated, self.samples[f"samples/{o}"])), None
            )
            if twin is not None:
                seen[latent] = [{**item, "latent": latent} for item in seen[twin]]
            else:
                sets = self._sets(generated, loaded, self.samples.get(f"labels/{latent}"), None, "")
                self.shown_samples[latent] = self._shown(next(iter(sets.values())).groups)
                seen[latent] = list(self._entries(names, through, sets, references, latent))
            yield from seen[latent]

    def _shown(self, groups: Mapping[str, Rows]) -> dict[str, list[int]]:
        """Return the first samples of each group of classes, for a grid."""
        names = [name for name in self.data.manifest.get("groups") or () if name in groups]
        return {name: groups[name][:SHOWN].tolist() for name in names}

    def _of_test(self, name: str, extractor: Extractor) -> NDArray[Any]:
        """Return the features of all test images; those of a slow extractor are kept."""
        if name == "classifier":
            path = layout.under(self.root, layout.extractor(self.data.dataset)[2])
            found = files.read_npy(path)
        else:
            arrays = self.data.manifest["arrays"]["test.npy"]["sha256"]
            key = digests.digest([name, self.config["extractors"][name], arrays])
            path = layout.under(self.root, f"scratch/features/{key}.npy")
            if not path.is_file():
                files.write_npy(path, extractor.extract(self.test).features)
            found = files.read_npy(path)
        if len(found) != len(self.test):
            raise DataError(
                f"{path}: features of {len(found)} images for {len(self.test)} test images. "
                "Delete it to remake it."
            )
        return found

    def _sets(
        self,
        images: NDArray[Any],
        loaded: Mapping[str, Extractor],
        labels: NDArray[Any] | None,
        groups: Mapping[str, Rows] | None,
        membership: str,
    ) -> dict[str, Features]:
        """Return the features of one set of images by extractor."""
        found: dict[str, Extracted] = {n: e.extract(images) for n, e in loaded.items()}
        predicted = next((x.predicted for x in found.values() if x.predicted is not None), None)
        if groups is None:
            known = labels if labels is not None else predicted
            groups = self._groups(known)
            membership = "classes asked of the model"
            if labels is None:
                membership = "classes of samples as the classifier sees them"
        return {
            name: Features(
                extracted.features,
                loaded[name].protocol,
                groups=groups,
                labels=labels,
                predicted=predicted,
                membership=membership,
            )
            for name, extracted in found.items()
        }

    def _entries(
        self,
        names: list[str],
        through: Mapping[str, str],
        sets: Mapping[str, Features],
        references: Mapping[str, Features],
        latent: str,
    ) -> Iterator[Entry]:
        for name in names:
            sample, reference = sets[through[name]], references[through[name]]
            rng = seeding.numpy_generator(self.config["seed"], f"evaluate/{name}/{latent}")
            found = metrics.evaluate(name, sample, reference, self.config["evaluation"], rng)
            yield from ({"latent": latent, **item} for item in found)


def _mean(latent: Any) -> torch.Tensor:
    """Return the mean of an encoding distribution, of a few samples where it has no closed one."""
    try:
        mean: torch.Tensor = latent.mean
    except (AttributeError, NotImplementedError):
        mean = torch.stack([latent.sample() for _ in range(16)]).mean(0)
    return mean
