"""Class counts against the published totals of the long-tailed CIFAR-100."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t3vae.datasets.long_tail import class_counts, class_groups, largest_class, select
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
        ((10, 5, 2, "linear"), "profile = linear"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        class_counts(*arguments)


def test_the_step_profile_has_two_sizes():
    assert class_counts(5000, 10, 100, "step") == [5000] * 5 + [50] * 5
    assert class_counts(60, 3, 3, "step") == [60, 20, 20]
    assert class_counts(60, 1, 3, "step") == [60]


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=12),
    st.floats(1, 50),
    st.sampled_from(["exponential", "step"]),
)
def test_the_largest_class_is_the_largest_that_all_classes_can_fill(available, imbalance, profile):
    n_max = largest_class(available, imbalance, profile)

    def fits(n):
        try:
            counts = class_counts(n, len(available), imbalance, profile)
        except ConfigError:  # the last class would be empty: that is no matter of rows
            return None
        return all(count <= rows for count, rows in zip(counts, available, strict=True))

    assert fits(n_max) in (True, None) and n_max <= available[0]
    assert n_max == available[0] or fits(n_max + 1) in (False, None)


def test_equal_classes_are_filled():
    for imbalance in (1.0, 10.0, 50.0, 100.0, 73.3):
        assert largest_class([5000] * 10, imbalance, "exponential") == 5000
        assert largest_class([500] * 100, imbalance, "step") == 500


def test_rows_are_chosen_at_random_within_their_class():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3), 50))
    rows = select(labels, [40, 20, 5], seed=1, stream="data/long_tail")
    assert np.bincount(labels[rows]).tolist() == [40, 20, 5]
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, select(labels, [40, 20, 5], 1, "data/long_tail"))
    other = select(labels, [40, 20, 5], seed=1, stream="data/test")
    assert rows.tolist() != other.tolist()
    # not simply the first ones: their mean rank within the class is near the middle
    samples = [select(labels, [0, 0, 5], seed, "s") for seed in range(200)]
    ranks = np.searchsorted(np.flatnonzero(labels == 2), np.concatenate(samples))
    assert abs(ranks.mean() - 24.5) < 4 * np.sqrt(50**2 / 12 / 1000)
    # a smaller count is a subset
    assert set(select(labels, [10, 2, 1], 1, "data/long_tail")) < set(rows)


def test_groups_are_thirds_of_the_classes_by_size():
    counts = class_counts(5000, 10, 100)
    assert class_groups(counts) == {"head": [0, 1, 2], "medium": [3, 4, 5, 6], "tail": [7, 8, 9]}
    assert class_groups(counts[::-1])["head"] == [7, 8, 9]
    assert class_groups([7] * 10) == class_groups(counts)
    assert [len(group) for group in class_groups([1] * 100).values()] == [33, 34, 33]
    assert class_groups([3, 9]) == {"head": [1], "medium": [], "tail": [0]}
    assert class_groups([3]) == {"head": [0], "medium": [], "tail": []}
