"""Features of images, by group, with what metrics compute from them once.

A set of features is the input of every metric of images: of test images, of their
reconstructions, of generated images. What metrics derive (statistics, neighbours) is
kept with the set, so that the test set is summarised once for all distributions of one run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from t3vae.metrics.reference import Sample, entry

__all__ = ["Features", "few_points", "unmeasured"]

Array = NDArray[np.floating[Any]]
Rows = NDArray[np.intp]
T = TypeVar("T")


class Features(Sample):
    """Features ``[N, f]`` of one set of images.

    Args:
        points: features, one row an image.
        extractor: what computed them and how: goes into every protocol.
        groups: rows of each group besides ``all``, such as ``class:3``, ``tail``.
        labels: class of each image, as the data or a conditional model say, [N].
        predicted: class that the classifier of real data sees in each image, [N].
        membership: how images were sorted into groups, for the protocol.

    Raises:
        MetricError: not [N, f], empty, or with values that are not finite.
    """

    def __init__(
        self,
        points: Array,
        extractor: str,
        *,
        groups: Mapping[str, Rows] | None = None,
        labels: NDArray[np.integer[Any]] | None = None,
        predicted: NDArray[np.integer[Any]] | None = None,
        membership: str = "",
    ) -> None:
        super().__init__(points)
        self.extractor = extractor
        self.groups: dict[str, Rows] = {"all": np.arange(len(points)), **(groups or {})}
        self.labels, self.predicted, self.membership = labels, predicted, membership
        self._kept: dict[Any, Any] = {}

    def rows(self, group: str) -> Array:
        """Return the features of a group."""
        return self.points if group == "all" else self.points[self.groups[group]]

    def keep(self, key: Any, make: Callable[[], T]) -> T:
        """Return what was made for this key before, or make it now."""
        if key not in self._kept:
            self._kept[key] = make()
        found: T = self._kept[key]
        return found

    def shared_groups(self, sample: Features) -> list[str]:
        """Return the groups that both sets know, in the order of this one."""
        return [group for group in self.groups if group in sample.groups]

    def protocol(self, reference: Features, group: str) -> str:
        """Return how a number of this set came about, against which reference."""
        text = f"{self.extractor}; {len(self.rows(group))} images against "
        text += f"{len(reference.rows(group))} test images"
        return f"{text}; {self.membership}" if group != "all" and self.membership else text


def few_points(n: int, dim: int) -> str | None:
    """Return a warning where n points are too few for a covariance of ``dim`` features.

    Example:
        >>> few_points(100, 64)
        'only 100 images for 64 features: below twice the number of features'
        >>> few_points(128, 64) is None
        True
    """
    if n >= 2 * dim:
        return None
    return f"only {n} images for {dim} features: below twice the number of features"


def unmeasured(
    name: str, group: str, n: int, needed: int, sample: Features, reference: Features
) -> dict[str, Any]:
    """Return the entry of a group that has too few images."""
    theirs = len(reference.rows(group))
    reason = f"{n} images and {theirs} test images in {group}; at least {needed} are needed"
    return entry(name, group, None, n, sample.protocol(reference, group), reason=reason)
