"""Goodness of fit against SciPy, direct formulas and simulated limits."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from t3vae import metrics
from t3vae.datasets.synthetic import UnivariateTMixture
from t3vae.errors import MetricError
from t3vae.metrics.goodness import (
    anderson_darling,
    anderson_darling_p_value,
    anderson_darling_two_sample,
    kolmogorov_smirnov,
    kolmogorov_smirnov_two_sample,
)
from t3vae.metrics.reference import Reference
from t3vae.metrics.stein import ksd_imq_rows


def entries_of(name, samples, reference, options=None):
    return metrics.evaluate(name, samples, reference, options or {}, np.random.default_rng(0))


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_kolmogorov_smirnov_agrees_with_scipy(shift):
    x = np.sort(np.random.default_rng(1).standard_t(5, 700) + shift)
    distance, p = kolmogorov_smirnov(stats.t.cdf(x, 5))
    expected = stats.ks_1samp(x, lambda v: stats.t.cdf(v, 5), method="exact")
    assert distance == pytest.approx(expected.statistic, rel=1e-12)
    assert p == pytest.approx(expected.pvalue, rel=0.03, abs=1e-4)


def test_two_sample_kolmogorov_smirnov_agrees_with_scipy():
    rng = np.random.default_rng(2)
    x, y = np.sort(rng.normal(size=300)), np.sort(rng.normal(size=450) + 0.1)
    x[10] = y[20]  # a tie
    distance, p = kolmogorov_smirnov_two_sample(np.sort(x), y)
    expected = stats.ks_2samp(x, y, method="asymp")
    assert distance == pytest.approx(expected.statistic, rel=1e-12)
    assert p == pytest.approx(expected.pvalue, rel=0.15)


def test_anderson_darling_is_the_integral_it_estimates():
    """A^2 = N int (F_N - F)^2 / (F (1 - F)) dF, piecewise in closed form."""
    u = np.sort(np.random.default_rng(3).uniform(size=40))
    n, total = len(u), 0.0
    edges = np.concatenate([[1e-300], u, [1 - 1e-16]])
    for i, (a, b) in enumerate(itertools.pairwise(edges)):
        c = i / n
        # int (c - v)^2 / (v (1 - v)) dv = c^2 log v - (1 - c)^2 log(1 - v) - v
        total += c * c * math.log(b / a) - (1 - c) ** 2 * math.log((1 - b) / (1 - a)) - (b - a)
    assert anderson_darling(u, 1 - u) == pytest.approx(n * total, rel=1e-9)


def test_anderson_darling_is_finite_in_far_tails():
    distribution = UnivariateTMixture()
    x = np.sort(np.append(distribution.sample(500, np.random.default_rng(4))[:, 0], [1e5, -1e6]))
    value = anderson_darling(distribution.cdf(x), distribution.sf(x))
    assert math.isfinite(value)
    assert math.isfinite(anderson_darling([0.0, 0.5], [1.0, 0.5]))


def test_anderson_darling_p_value_against_its_limit():
    # published critical values
    for statistic, level in ((1.933, 0.10), (2.492, 0.05), (3.8781, 0.01)):
        assert anderson_darling_p_value(statistic) == pytest.approx(level, rel=1e-3)
    # the limit is a sum of chi-squares with weights 1/(j(j+1)): Imhof's inversion
    weights = 1 / (np.arange(1, 3001) * np.arange(2, 3002))
    u = np.linspace(0, 400, 40_001)[1:]
    angle = 0.5 * sum(np.arctan(w * u) for w in weights)
    size = np.exp(0.25 * sum(np.log1p((w * u) ** 2) for w in weights))
    angle += 0.5 * u / 3001  # the rest of the weights, which sum to 1/3001
    for z in (0.3, 0.9, 1.9, 2.1, 4.0, 7.0):
        values = np.sin(angle - 0.5 * z * u) / (u * size)
        at_zero = 0.5 * (1 - z)
        p = 0.5 + integrate.simpson(np.append(at_zero, values), dx=0.01) / np.pi
        assert anderson_darling_p_value(z) == pytest.approx(p, abs=1e-8)
    values = [anderson_darling_p_value(z) for z in np.linspace(0.05, 60, 400)]
    assert all(a >= b for a, b in itertools.pairwise(values))
    assert values[-1] == 1e-9


def test_two_sample_anderson_darling_agrees_with_scipy():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=80), rng.normal(size=120) + 0.5
    ours = anderson_darling_two_sample(x, y, rng)[0]
    # SciPy standardises with the exact null variance of k samples (Scholz and Stephens, 1987)
    n, m, k = 80, 120, 2
    total = n + m
    h = sum(1 / i for i in range(1, total))
    big_h = 1 / n + 1 / m
    g = sum(1 / ((total - i) * j) for i in range(1, total - 1) for j in range(i + 1, total))
    a = (4 * g - 6) * (k - 1) + (10 - 6 * g) * big_h
    b = (2 * g - 4) * k**2 + 8 * h * k + (2 * g - 14 * h - 4) * big_h - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * k**2 + (4 * h - 4 * g + 6) * k + (2 * h - 6) * big_h + 4 * h
    d = (2 * h + 6) * k**2 - 4 * h * k
    variance = (a * total**3 + b * total**2 + c * total + d) / (
        (total - 1) * (total - 2) * (total - 3)
    )
    expected = stats.anderson_ksamp([x, y], variant="midrank").statistic
    assert (ours - (k - 1)) / math.sqrt(variance) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["ks", "anderson_darling"])
def test_goodness_entries(name):
    distribution = UnivariateTMixture()
    rng = np.random.default_rng(7)
    test, samples = (distribution.sample(4000, rng).astype(np.float32) for _ in range(2))
    (exact,) = entries_of(name, samples, Reference(test, distribution))
    assert exact["group"] == "all"
    assert exact["n"] == 4000
    assert exact["p_value"] > 1e-3
    (wrong,) = entries_of(name, samples * np.float32(1.3), Reference(test, distribution))
    assert wrong["p_value"] < 1e-4
    assert wrong["value"] > exact["value"]
    (two,) = entries_of(name, samples, Reference(test))
    assert two["group"] == "column=0"
    assert two["p_value"] > 1e-3
    pairs = entries_of(name, np.tile(samples, 2), Reference(np.tile(test, 2)))
    assert [e["group"] for e in pairs] == ["column=0", "column=1"]
    assert pairs[1]["value"] == two["value"]


# --- kernel Stein discrepancy --------------------------------------------------------------


def autograd_stein_kernel(x, y, score, c, beta):
    """s_x.s_y k + s_x.grad_y k + s_y.grad_x k + trace grad_x grad_y k, by autograd."""
    a = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    b = torch.tensor(y, dtype=torch.float64, requires_grad=True)
    k = (c * c + (a - b).square().sum()) ** beta
    grad_a, grad_b = torch.autograd.grad(k, (a, b), create_graph=True)
    trace = sum(
        torch.autograd.grad(grad_a[i], b, retain_graph=True)[0][i].item() for i in range(len(x))
    )
    sx, sy = (torch.tensor(score(v), dtype=torch.float64) for v in (x, y))
    return float((sx @ sy * k + sx @ grad_b + sy @ grad_a).detach()) + trace


@pytest.mark.parametrize(("d", "c", "beta"), [(1, 1.0, -0.5), (3, 1.0, -0.5), (2, 0.7, -0.3)])
def test_ksd_by_autograd(d, c, beta):
    def score(v):
        v = np.asarray(v)
        return -(5 + d) * v / (5 + v @ v)

    points = np.random.default_rng(8).standard_t(3, (7, d))
    scores = np.array([score(v) for v in points])
    expected = np.mean(
        [
            autograd_stein_kernel(points[i], points[j], score, c, beta)
            for i in range(7)
            for j in range(7)
            if i != j
        ]
    )
    assert ksd_imq_rows(points, scores, c=c, beta=beta).mean() == pytest.approx(expected, rel=1e-10)


def test_ksd_blocks_and_shapes(monkeypatch):
    from t3vae.metrics import stein

    rng = np.random.default_rng(9)
    x, s = rng.normal(size=(2, 33, 2))
    whole = ksd_imq_rows(x, s)
    monkeypatch.setattr(stein, "BLOCK", 8)
    np.testing.assert_allclose(ksd_imq_rows(x, s), whole, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(ksd_imq_rows(x[:, 0], s[:, 0]), ksd_imq_rows(x[:, :1], s[:, :1]))
    for bad in (lambda: ksd_imq_rows(x, s[:5]), lambda: ksd_imq_rows(x[:1], s[:1])):
        with pytest.raises(MetricError):
            bad()


def test_ksd_entry_is_near_zero_for_the_truth_only():
    distribution = UnivariateTMixture()
    rng = np.random.default_rng(10)
    test = distribution.sample(3000, rng)
    options = {"ksd": {"points": 1500}}
    (truth,) = entries_of(
        "ksd", distribution.sample(3000, rng), Reference(test, distribution), options
    )
    (wrong,) = entries_of(
        "ksd", distribution.sample(3000, rng) + 0.5, Reference(test, distribution), options
    )
    assert truth["n"] == 1500
    assert abs(truth["value"]) < 0.005
    assert wrong["value"] > 0.02
    assert wrong["value"] > 6 * wrong["se"]
    (unknown,) = entries_of("ksd", test, Reference(test), options)
    assert unknown["value"] is None
    assert "not known" in unknown["reason"]
