"""Densities against SciPy and quadrature, samplers against moments, gradients and KS."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import polygamma

from t3vae.errors import ConfigError
from t3vae.maths.constants import log_t_normalizer
from t3vae.maths.distributions import (
    DiagonalGaussian,
    IndependentT,
    MultivariateT,
    TMixture,
    log_t_normalizer_tensor,
    standard_gamma,
)


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(7)
        yield


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


LOC, SCALE = [0.1, -0.2, 0.3], [0.7, 1.0, 1.4]
POINTS = [[0.9, 0.4, -0.3], [-0.2, 5.0, 0.8], [100.0, -3.0, 2.0]]


@pytest.mark.parametrize("nu", [0.7, 2.1, 9.0, 1e5])
def test_multivariate_density_is_scipys(nu):
    expected = stats.multivariate_t.logpdf(POINTS, LOC, np.diag(np.square(SCALE)), df=nu)
    diagonal = MultivariateT(tensor(LOC), tensor(SCALE), nu)
    batched = MultivariateT(tensor(LOC), tensor(SCALE), torch.full((3,), nu, dtype=torch.float64))
    for distribution in (diagonal, batched):
        assert distribution.log_prob(tensor(POINTS)).tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("nu", [1.5, 6.0])
def test_independent_density_is_scipys(nu):
    expected = stats.t.logpdf(POINTS, nu, LOC, SCALE).sum(-1)
    for degrees in (nu, tensor([nu, nu, nu])):
        distribution = IndependentT(tensor(LOC), tensor(SCALE), degrees)
        assert distribution.log_prob(tensor(POINTS)).tolist() == pytest.approx(expected, rel=1e-10)


def test_gaussian_density_is_scipys():
    expected = stats.norm.logpdf(POINTS, LOC, SCALE).sum(-1)
    distribution = DiagonalGaussian(tensor(LOC), tensor(SCALE))
    assert distribution.log_prob(tensor(POINTS)).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", [MultivariateT, IndependentT])
def test_scalar_and_column_scales_mean_the_same(kind):
    x = torch.randn(4, 3, dtype=torch.float64)
    loc = torch.randn(4, 3, dtype=torch.float64)
    values = [
        kind(loc, scale, 5.0).log_prob(x)
        for scale in (
            0.7,
            tensor(0.7),
            torch.full((4, 1), 0.7),
            torch.full((4, 3), 0.7),
        )
    ]
    for value in values[1:]:
        assert torch.allclose(value, values[0], rtol=1e-6)


def test_batch_shapes_follow_broadcasting():
    loc, scale = torch.zeros(5, 4, 3), torch.ones(4, 1)
    distribution = MultivariateT(loc, scale, torch.full((4,), 5.0))
    assert distribution.batch_shape == (5, 4)
    assert distribution.event_shape == (3,)
    assert distribution.rsample((2,)).shape == (2, 5, 4, 3)
    assert distribution.log_prob(torch.zeros(3)).shape == (5, 4)
    assert distribution.mean.shape == distribution.variance.shape == (5, 4, 3)
    wide = MultivariateT(torch.zeros(3), torch.ones(6, 1), 5.0)
    assert wide.sample().shape == (6, 3)


def test_densities_integrate_to_one():
    grid = torch.sinh(torch.linspace(-30, 30, 20001, dtype=torch.float64)).unsqueeze(-1)
    weight = torch.cosh(torch.linspace(-30, 30, 20001, dtype=torch.float64)) * 60 / 20000
    mixture = TMixture(
        tensor([0.6, 0.4]),
        tensor([[-2.0], [2.0]]),
        tensor([[1.0], [0.3]]),
        tensor([5.0, 1.5]),
    )
    for distribution in (MultivariateT(tensor([0.3]), 1.2, 2.2), mixture):
        assert (distribution.log_prob(grid).exp() * weight).sum().item() == pytest.approx(
            1, abs=1e-8
        )


def test_encoder_draws_have_the_stated_covariance():
    """t(mu, Sigma / (1 + n/nu), nu + n) has covariance nu / (nu + n - 2) Sigma."""
    nu, n = 5.0, 2
    logvar = tensor([0.4, -0.8])
    distribution = MultivariateT(
        tensor([1.0, -1.0]), (0.5 * logvar).exp() / math.sqrt(1 + n / nu), nu + n
    )
    expected = nu / (nu + n - 2) * logvar.exp()
    assert torch.allclose(distribution.variance, expected, rtol=1e-12)
    samples = distribution.sample((400_000,))
    assert torch.allclose(samples.mean(0), distribution.mean, atol=0.01)
    covariance = torch.cov(samples.T)
    assert torch.allclose(covariance, torch.diag(expected), rtol=0.03, atol=0.02)


@pytest.mark.parametrize("as_tensor", [False, True])
def test_draws_follow_the_distribution(as_tensor):
    nu = 3.0
    degrees = tensor(nu) if as_tensor else nu
    samples = MultivariateT(tensor([0.5, 1.0]), tensor([2.0, 0.5]), degrees).sample((50_000,))
    for column, loc, scale in ((0, 0.5, 2.0), (1, 1.0, 0.5)):
        assert stats.kstest(samples[:, column].numpy(), stats.t(nu, loc, scale).cdf).pvalue > 1e-3
    # |z|^2 / d of a unit t vector is F(d, nu): this fails if each coordinate has its own chi2
    radius = (((samples - tensor([0.5, 1.0])) / tensor([2.0, 0.5])) ** 2).mean(-1)
    assert stats.kstest(radius.numpy(), stats.f(2, nu).cdf).pvalue > 1e-3


def test_one_chi_square_per_sample_or_per_coordinate():
    def rank_correlation(distribution):
        samples = distribution.sample((20_000,)).abs()
        return stats.spearmanr(samples[:, 0], samples[:, 1]).statistic

    shared = rank_correlation(MultivariateT(torch.zeros(2), 1.0, 2.5))
    separate = rank_correlation(IndependentT(torch.zeros(2), 1.0, 2.5))
    assert shared > 0.15
    assert abs(separate) < 0.03


@pytest.mark.parametrize("as_tensor", [False, True])
def test_independent_draws_follow_the_distribution(as_tensor):
    degrees = tensor([3.0, 3.0]) if as_tensor else 3.0
    samples = IndependentT(tensor([0.5, 1.0]), 2.0, degrees).sample((50_000,))
    assert stats.kstest(samples[:, 1].numpy(), stats.t(3.0, 1.0, 2.0).cdf).pvalue > 1e-3


def test_gaussian_draws_follow_the_distribution():
    samples = DiagonalGaussian(tensor([0.5, 1.0]), tensor([2.0, 0.1])).sample((50_000,))
    assert stats.kstest(samples[:, 1].numpy(), stats.norm(1.0, 0.1).cdf).pvalue > 1e-3


@pytest.mark.parametrize("kind", [MultivariateT, IndependentT])
def test_gradient_reaches_nu(kind):
    """d/dnu E log z^2 = 1/nu - psi'(nu/2) / 2 in one dimension."""
    nu = torch.full((1,), 4.0, dtype=torch.float64, requires_grad=True)
    distribution = kind(torch.zeros(400_000, 1, dtype=torch.float64), 1.0, nu)
    (gradient,) = torch.autograd.grad(distribution.rsample().square().log().mean(), nu)
    expected = 1 / 4.0 - 0.5 * float(polygamma(1, 2.0))
    assert gradient.item() == pytest.approx(expected, rel=0.03)


def test_gradients_reach_location_and_scale():
    loc = torch.zeros(8, 2, requires_grad=True)
    scale = torch.ones(8, 2, requires_grad=True)
    for distribution in (MultivariateT(loc, scale, 5.0), DiagonalGaussian(loc, scale)):
        draw = distribution.rsample()
        by_loc, by_scale = torch.autograd.grad(draw.sum(), (loc, scale))
        assert torch.equal(by_loc, torch.ones(8, 2))
        assert torch.allclose(by_scale, draw.detach())
        assert not distribution.sample().requires_grad


def test_log_density_gradients():
    arguments = [
        torch.randn(3, 2, dtype=torch.float64, requires_grad=True),
        torch.rand(3, 2, dtype=torch.float64).add(0.5).requires_grad_(),
        torch.rand(3, dtype=torch.float64).add(2.0).requires_grad_(),
    ]
    x = torch.randn(3, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *a: MultivariateT(*a).log_prob(x), arguments)


def test_normalizer_of_tensors():
    nu = tensor([0.5, 3.0, 77.0, 1e6])
    expected = [log_t_normalizer(value, 3) for value in nu.tolist()]
    assert log_t_normalizer_tensor(nu, 3).tolist() == pytest.approx(expected, abs=2e-9)
    single = log_t_normalizer_tensor(nu.float(), 3)
    assert single.dtype == torch.float32
    assert single.tolist() == pytest.approx(expected, rel=1e-6)


def test_mixture_density_is_a_sum_of_scipys():
    weights, nu = np.array([1.0, 3.0]), np.array([4.0, 30.0])
    loc, scale = np.array([[0.0, 1.0], [2.0, -1.0]]), np.array([[1.0, 0.5], [2.0, 0.3]])
    distribution = TMixture(*(torch.from_numpy(a) for a in (weights, loc, scale, nu)))
    points = np.random.default_rng(0).normal(size=(6, 2))
    density = sum(
        w / 4 * stats.multivariate_t.pdf(points, m, np.diag(s**2), df=f)
        for w, m, s, f in zip(weights, loc, scale, nu, strict=True)
    )
    actual = distribution.log_prob(torch.from_numpy(points).reshape(2, 3, 2)).reshape(-1)
    assert actual.tolist() == pytest.approx(np.log(density), rel=1e-9)


def test_mixture_draws_follow_the_distribution_and_its_moments():
    distribution = TMixture(
        tensor([0.6, 0.4]),
        tensor([[-2.0], [2.0]]),
        tensor([[1.0], [0.5]]),
        tensor([5.0, 8.0]),
    )
    samples = distribution.sample((1000, 100))
    assert samples.shape == (1000, 100, 1)
    flat = samples.reshape(-1).numpy()

    def cdf(x):
        return 0.6 * stats.t.cdf(x, 5, -2, 1) + 0.4 * stats.t.cdf(x, 8, 2, 0.5)

    assert stats.kstest(flat, cdf).pvalue > 1e-3
    assert distribution.mean.item() == pytest.approx(-0.4)
    assert distribution.variance.item() == pytest.approx(flat.var(), rel=0.03)


def test_draws_come_from_the_global_generator():
    distribution = MultivariateT(torch.zeros(4, 2), 1.0, 3.0)
    torch.manual_seed(1)
    first = distribution.sample()
    torch.manual_seed(1)
    assert torch.equal(first, distribution.sample())
    assert not torch.equal(first, distribution.sample())


@pytest.mark.parametrize("concentration", [1e-4, torch.tensor(1e-4)])
def test_gamma_draws_never_reach_zero(concentration):
    draw = standard_gamma(concentration, torch.Size((10_000,)), torch.zeros(1))
    assert draw.min() > 0


def test_moments_that_do_not_exist():
    assert MultivariateT(torch.zeros(1, 2), 1.0, 2.0).variance.isinf().all()
    assert MultivariateT(torch.zeros(1, 2), 1.0, 1.0).mean.isnan().all()
    distribution = IndependentT(torch.zeros(3), 1.0, torch.tensor([0.5, 1.5, 4.0]))
    assert distribution.mean.isnan().tolist() == [True, False, False]
    assert distribution.variance.tolist()[1:] == [math.inf, 2.0]
    assert distribution.variance[0].isnan()


@pytest.mark.parametrize("nu", [0.0, -1.0, math.nan, math.inf])
def test_bad_nu_is_refused(nu):
    for kind in (MultivariateT, IndependentT):
        with pytest.raises(ConfigError, match="positive and finite"):
            kind(torch.zeros(2), 1.0, nu)


def test_bad_shapes_are_refused():
    with pytest.raises(ConfigError, match="broadcast"):
        MultivariateT(torch.zeros(4, 3), torch.ones(5, 3), 3.0)
    with pytest.raises(ConfigError, match="must be 1 or the dimension 1"):
        MultivariateT(torch.zeros(4, 1), torch.ones(4, 3), 3.0)
    with pytest.raises(ConfigError, match="at least one axis"):
        DiagonalGaussian(torch.tensor(0.0), 1.0)
    one = torch.ones(1)
    with pytest.raises(ConfigError, match="mixture: weights"):
        TMixture(torch.ones(2), torch.zeros(1, 1), torch.ones(1, 1), one)
    with pytest.raises(ConfigError, match="scale and nu"):
        TMixture(one, torch.zeros(1, 1), -torch.ones(1, 1), one)
    with pytest.raises(ConfigError, match="weights"):
        TMixture(-one, torch.zeros(1, 1), torch.ones(1, 1), one)
