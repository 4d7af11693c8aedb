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

__all__ = ["RECONSTRUCTION", "ImageRun"]

Entry = dict[str, Any]
Rows = NDArray[np.intp]

RECONSTRUCTION = "reconstruction"
"""Stands in the place of the latent distribution in entries of reconstructions."""

BLOCK = 256
SHOWN = 6


class ImageRun:
    """One run on images: its entries, digests of what else was read, and samples to show.

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
        for name in ("reconstructions", *(f"samples/{latent}" for latent in config["latents"])):
            images = samples[name]
            if images.dtype != np.uint8 or images.shape[1:] != self.test.shape[1:]:
                raise DataError(
                    f"samples of {folder.name}: {name} is {images.dtype} {images.shape}, but "
                    f"images are uint8 [N, {', '.join(map(str, self.test.shape[1:]))}]. "
                    "Run `t3vae sample` again."
                )
        self.shown_samples: dict[str, dict[str, list[int]]] = {}
        self.shown = min(len(samples["reconstructions"]), len(self.test))

    def entries(self) -> list[Entry]:
        """Return the entries of pixels, of the latent space and of features."""
        found = [*self.of_errors(), *self.of_latents(), *self.of_features()]
        return [{"split": "test", **item} for item in found]

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

    def of_errors(self) -> Iterator[Entry]:
        """Yield the entries of the reconstruction error."""
        if "reconstruction_error" in self.names:
            groups = {"all": np.arange(self.shown), **self._test_groups(self.shown)}
            pairs = self.samples["reconstructions"][: self.shown], self.test[: self.shown]
            for item in per_class.error_entries(*pairs, groups, 255.0):
                yield {"latent": RECONSTRUCTION, **item}

    @torch.no_grad()
    def of_latents(self) -> Iterator[Entry]:
        """Yield the entries of the latent space."""
        latents = [name for name in self.config["latents"] if f"latent/{name}" in self.samples]
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
        encoded = [name for name in ("active_units", "entropy_weight") if name in self.names]
        if not encoded:
            return
        points = {n: options_of(n, self.config["evaluation"])["points"] for n in encoded}
        means, weights = self._posteriors(max(points.values()))
        if "active_units" in encoded:
            means = means[: points["active_units"]]
            for latent in latents:
                if latent != "fitted":  # which is no distribution that encodings are pulled to
                    for item in latent_space.unit_entries(means, self.samples[f"latent/{latent}"]):
                        yield {"latent": latent, **item}
        if "entropy_weight" in encoded:
            known = None if weights is None else weights[: points["entropy_weight"]]
            for item in latent_space.entropy_entries(known):
                yield {"latent": RECONSTRUCTION, **item}

    def _posteriors(self, count: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Encode test images, once: return posterior means [N, m] and entropy weights [N]."""
        net = checkpoint.load_run(self.folder, self.device)
        means, weights = [], []
        with seeding.torch_stream(self.config["seed"], "evaluate/active_units"):
            for start in range(0, min(count, len(self.test)), BLOCK):
                block = np.array(self.test[start : min(start + BLOCK, count)])
                x = torch.from_numpy(block).to(self.device).float() / 255.0
                arguments = [x]
                if getattr(net, "conditional", False) and self.labels is not None:
                    rows = np.array(self.labels[start : start + len(block)])
                    arguments.append(torch.from_numpy(rows).to(self.device))
                posterior = net.encode(*arguments)
                means.append(_mean(posterior).cpu().float().numpy())
                if "entropy_weight" in self.names:
                    weights.append(net.entropy_weight(posterior))
        known = [w.cpu().double().numpy() for w in weights if w is not None]  # one level
        return np.concatenate(means), np.concatenate(known) if known else None

    def of_features(self) -> Iterator[Entry]:
        """Yield the entries of all metrics of features, reconstructions first."""
        wanted = [name for name in self.names if METRICS[name].of == "features"]
        through = {
            name: options_of(name, self.config["evaluation"]).get("features", "classifier")
            for name in wanted
        } | {"fid": "inception"}
        loaded: dict[str, Extractor] = {}
        absent: dict[str, str] = {}
        folder = layout.under(self.root, layout.prepared(self.data.dataset))
        for name in self.config["extractors"]:
            try:
                loaded[name] = load(name, self.config["extractors"][name], folder, self.device)
                if name == "classifier":
                    for path in layout.extractor(self.data.dataset):
                        full = layout.under(self.root, path)
                        self.inputs[path] = digests.file_digest(full)
            except MissingWeightsError as error:
                absent[name] = str(error)
        for name in wanted:
            if reason := absent.get(through[name]):
                for latent in (RECONSTRUCTION, *self.config["latents"]):
                    missing = entry(name, "all", None, 0, through[name], reason=reason)
                    yield {"latent": latent, **missing}
        here = [name for name in wanted if through[name] in loaded]
        if here:
            yield from self._compare(here, through, loaded)

    def _compare(
        self, names: list[str], through: Mapping[str, str], loaded: Mapping[str, Extractor]
    ) -> Iterator[Entry]:
        whole = self._test_groups(len(self.test))
        references = {
            name: Features(self._of_test(name, extractor), extractor.protocol, groups=whole)
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
        path = layout.under(self.root, layout.extractor(self.data.dataset)[2])
        if name != "classifier":
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
        more: Any = {"groups": groups, "labels": labels, "predicted": predicted}
        return {
            name: Features(x.features, loaded[name].protocol, **more, membership=membership)
            for name, x in found.items()
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


def _mean(latent: Any) -> Any:
    """Return the mean of an encoding distribution, of a few samples where it has no closed one."""
    try:
        return latent.mean
    except (AttributeError, NotImplementedError):
        return torch.stack([latent.sample() for _ in range(16)]).mean(0)
