"""The tilted prior against confluent hypergeometric functions, quadrature and sampling."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import cumulative_trapezoid, quad

from t3vae.errors import ConfigError
from t3vae.maths.tilted import (
    TiltedGaussian,
    tilted_log_normalizer,
    tilted_mean_norm,
    tilted_mu_star,
    tilted_regularizer_2x,
)
from t3vae.stages.verify import FUNCTIONS

tilted_kl = FUNCTIONS["tilted_kl"]


def exact_mean_norm(r, d):
    with mpmath.workdps(40):
        ratio = mpmath.gamma((mpmath.mpf(d) + 1) / 2) / mpmath.gamma(mpmath.mpf(d) / 2)
        value = mpmath.hyp1f1(-0.5, mpmath.mpf(d) / 2, -(mpmath.mpf(r) ** 2) / 2)
        return float(mpmath.sqrt(2) * ratio * value)


def exact_log_normalizer(tau, d):
    with mpmath.workdps(40):
        tau, d = mpmath.mpf(tau), mpmath.mpf(d)
        ratio = mpmath.gamma((d + 1) / 2) / mpmath.gamma(d / 2)
        even = mpmath.hyp1f1(d / 2, 0.5, tau**2 / 2)
        odd = mpmath.hyp1f1((d + 1) / 2, 1.5, tau**2 / 2)
        return float(mpmath.log(even + tau * mpmath.sqrt(2) * ratio * odd))


CASES = [
    (0.0, 1),
    (3.0, 1),
    (40.0, 1),
    (0.5, 2),
    (5.0, 3),
    (0.0, 64),
    (49.4, 64),
    (200.0, 512),
]


@pytest.mark.parametrize(("value", "d"), CASES)
def test_mean_norm_and_normalizer_agree_with_forty_digits(value, d):
    assert tilted_mean_norm(value, d) == pytest.approx(exact_mean_norm(value, d), rel=1e-12)
    expected = exact_log_normalizer(value, d)
    assert tilted_log_normalizer(value, d) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_mean_norm_by_simulation():
    z = np.random.default_rng(0).standard_normal((200_000, 5))
    z[:, 0] += 1.7
    assert tilted_mean_norm(1.7, 5) == pytest.approx(np.linalg.norm(z, axis=1).mean(), rel=3e-3)


def test_mu_star_has_the_reference_values():
    assert tilted_mu_star(50.0, 64) == pytest.approx(49.365596828, abs=1e-9)
    assert tilted_mu_star(40.0, 64) == pytest.approx(39.203836759, abs=1e-9)
    assert tilted_mu_star(1.0, 64) == 0.0


@pytest.mark.parametrize(("tau", "d"), [(3.0, 1), (2.5, 2), (50.0, 64), (30.0, 512)])
def test_mu_star_minimises_the_divergence(tau, d):
    star = tilted_mu_star(tau, d)
    best = tilted_kl(star, tau, d)
    for step in (-0.05, 0.05):
        assert tilted_kl(abs(star + step), tau, d) > best


def test_smallest_divergence_has_the_reference_value():
    assert tilted_kl(tilted_mu_star(50.0, 64), 50.0, 64) == pytest.approx(117.05, abs=0.005)


def test_divergence_by_quadrature_in_one_dimension():
    tau, r = 1.3, 0.8
    distribution = TiltedGaussian(tau, 1)

    def integrand(x):
        log_q = stats.norm.logpdf(x, r)
        log_p = distribution.log_prob(torch.tensor([x], dtype=torch.float64)).item()
        return math.exp(log_q) * (log_q - log_p)

    expected = quad(integrand, -9, 11, points=[0.0])[0]
    assert tilted_kl(r, tau, 1) == pytest.approx(expected, rel=1e-8)


def test_density_integrates_to_one():
    radius = torch.linspace(0, 30, 20001, dtype=torch.float64)
    for tau, d, sphere in ((4.0, 1, 2.0), (4.0, 2, 2 * math.pi), (9.0, 3, 4 * math.pi)):
        points = torch.zeros(20001, d, dtype=torch.float64)
        points[:, 0] = radius
        density = TiltedGaussian(tau, d).log_prob(points).exp() * sphere * radius ** (d - 1)
        assert torch.trapezoid(density, radius).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("tau", "d"), [(0.0, 3), (6.0, 1), (20.0, 16)])
def test_draws_follow_the_distribution(tau, d):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        distribution = TiltedGaussian(tau, d)
        samples = distribution.sample((40_000,)).double()
    grid = np.linspace(1e-9, tau + 30, 200_001)
    logs = (d - 1) * np.log(grid) - grid**2 / 2 + tau * grid
    cumulative = cumulative_trapezoid(np.exp(logs - logs.max()), grid, initial=0)
    cumulative /= cumulative[-1]
    radius = torch.linalg.vector_norm(samples, dim=-1).numpy()
    assert stats.kstest(radius, lambda r: np.interp(r, grid, cumulative)).pvalue > 1e-3
    assert distribution.variance[0].item() == pytest.approx(
        samples.square().mean().item(), rel=0.02
    )
    assert samples.mean(0).abs().max() < 0.06 * distribution.variance[0].sqrt()


def test_regularizer_is_the_quadratic_surrogate():
    mu = torch.randn(5, 64, dtype=torch.float64, requires_grad=True)
    expected = (mu.norm(dim=1) - tilted_mu_star(50.0, 64)) ** 2
    assert torch.allclose(tilted_regularizer_2x(mu, 50.0), expected)
    origin = torch.zeros(1, 4, requires_grad=True)  # no direction there, and no NaN
    (gradient,) = torch.autograd.grad(tilted_regularizer_2x(origin, 5.0).sum(), origin)
    assert torch.equal(gradient, torch.zeros(1, 4))


def test_bad_arguments_are_refused():
    with pytest.raises(ConfigError, match=r"tau = -1\.0"):
        TiltedGaussian(-1.0, 3)
    with pytest.raises(ConfigError, match="d = 0"):
        tilted_mu_star(5.0, 0)
    with pytest.raises(ConfigError, match="r = nan"):
        tilted_mean_norm(math.nan, 2)
