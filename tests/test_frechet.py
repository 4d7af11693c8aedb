"""The Frechet distance against its definition, closed cases and SciPy's matrix root."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from t3vae.errors import MetricError
from t3vae.metrics.frechet import frechet_distance


def covariance(seed, d, rank=None):
    factor = np.random.default_rng(seed).normal(size=(d, d if rank is None else rank))
    return factor @ factor.T / d


def test_agrees_with_the_matrix_root():
    rng = np.random.default_rng(0)
    mu1, mu2, s1, s2 = rng.normal(size=6), rng.normal(size=6), covariance(1, 6), covariance(2, 6)
    expected = ((mu1 - mu2) ** 2).sum() + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)
    assert frechet_distance(mu1, s1, mu2, s2) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(mu2, s2, mu1, s1) == pytest.approx(expected, rel=1e-10)


def test_equal_covariances_leave_the_distance_of_the_means():
    s = covariance(3, 5)
    assert frechet_distance(np.zeros(5), s, np.full(5, 2.0), s) == pytest.approx(20, rel=1e-12)
    assert frechet_distance(np.zeros(5), s, np.zeros(5), s) == pytest.approx(0, abs=1e-12)


def test_commuting_covariances_have_a_closed_form():
    a, b = np.array([4.0, 1.0, 0.0]), np.array([1.0, 9.0, 2.0])
    rotation = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
    s1, s2 = (rotation * values @ rotation.T for values in (a, b))
    expected = ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(np.zeros(3), s1, np.zeros(3), s2) == pytest.approx(expected, rel=1e-9)


def test_rank_deficient_covariances_give_a_finite_real_distance():
    """Few samples in many dimensions: for one common line the distance is one-dimensional."""
    direction = np.ones(20) / np.sqrt(20)
    s1, s2 = 4 * np.outer(direction, direction), 9 * np.outer(direction, direction)
    assert frechet_distance(np.zeros(20), s1, np.zeros(20), s2) == pytest.approx(1, abs=1e-6)
    low = covariance(5, 20, rank=3)
    assert frechet_distance(np.zeros(20), low, np.zeros(20), low) == pytest.approx(0, abs=1e-6)


def test_one_dimension_takes_numbers():
    assert frechet_distance(1.0, 4.0, 3.0, 9.0) == pytest.approx(5)


def test_bad_arguments_are_refused():
    one, zero = np.eye(2), np.zeros(2)
    with pytest.raises(MetricError, match="both must be"):
        frechet_distance(zero, one, np.zeros(3), np.eye(3))
    with pytest.raises(MetricError, match="sigma2 has shape"):
        frechet_distance(zero, one, zero, np.eye(3))
    with pytest.raises(MetricError, match="not symmetric"):
        frechet_distance(zero, np.array([[1.0, 0.5], [0.0, 1.0]]), zero, one)
    with pytest.raises(MetricError, match="not finite"):
        frechet_distance(zero, np.full((2, 2), np.nan), zero, one)
    with pytest.raises(MetricError, match="sigma1 has an eigenvalue below zero"):
        frechet_distance(zero, -one, zero, one)
    with pytest.raises(MetricError, match="sigma2 has an eigenvalue below zero"):
        frechet_distance(zero, one, zero, -one)
