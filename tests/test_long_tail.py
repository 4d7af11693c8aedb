"""Class counts against the published totals of the long-tailed CIFAR-100."""

import pytest

from t3vae.datasets.long_tail import class_counts
from t3vae.errors import ConfigError


@pytest.mark.parametrize(("imbalance", "total"), [(100, 10847), (50, 12608), (10, 19573)])
def test_totals_are_the_published_ones(imbalance, total):
    assert sum(class_counts(500, 100, imbalance)) == total


def test_first_and_last_counts_are_the_published_ones():
    counts = class_counts(500, 100, 100)
    assert counts[:5] == [500, 477, 455, 434, 415]
    assert counts[-5:] == [6, 5, 5, 5, 5]


def test_counts_decrease_from_the_largest_to_the_smallest_class():
    counts = class_counts(1000, 7, 20)
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[-1]) == (1000, 50)


def test_special_cases():
    assert class_counts(30, 4, 1) == [30] * 4
    assert class_counts(30, 1, 50) == [30]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 5, 10), "n_max = 0"),
        ((10, 0, 10), "num_classes = 0"),
        ((10, 5, 0.5), "imbalance = 0.5"),
        ((10, 5, float("nan")), "imbalance = nan"),
        ((10, 5, 100), "would be empty"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        class_counts(*arguments)
