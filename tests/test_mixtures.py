"""The mixture fit on samples of known distributions, against SciPy and finite differences."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import approx_fprime

from t3vae.errors import ConfigError, DataError
from t3vae.maths import mixtures
from t3vae.maths.distributions import TMixture
from t3vae.maths.mixtures import fit_t_mixture


def bimodal(count, seed):
    """0.6 t_5(-2, 1) + 0.4 t_5(2, 1), as the univariate data."""
    rng = np.random.default_rng(seed)
    centre = np.where(rng.random(count) < 0.6, -2.0, 2.0)
    return (centre + rng.standard_t(5, count))[:, None]


def bent(z):
    """A piecewise linear map: what a network with LeakyReLU units makes of the data."""
    return np.where(z > 0.5, 0.4 * z + 0.3, z) + 0.5 * np.maximum(-z - 3, 0)


def mixture_cdf(fit, x):
    parts = (
        weight * stats.t.cdf(x, nu, loc[0], scale[0])
        for weight, loc, scale, nu in zip(fit.weights, fit.loc, fit.scale, fit.nu, strict=True)
    )
    return sum(parts)


def test_recovers_a_mixture_of_two():
    fit = fit_t_mixture(bimodal(200_000, 0), max_components=2, points=200_000)
    assert fit.components == 2
    assert fit.weights == pytest.approx([0.6, 0.4], abs=0.01)
    assert fit.loc[:, 0] == pytest.approx([-2, 2], abs=0.03)
    assert fit.scale[:, 0] == pytest.approx([1, 1], abs=0.02)
    assert fit.nu == pytest.approx([5, 5], rel=0.15)


@pytest.mark.parametrize("shape", [lambda z: z, bent], ids=["bimodal", "bent"])
def test_fit_is_close_to_an_unseen_sample(shape):
    fit = fit_t_mixture(shape(bimodal(50_000, 1)), max_components=6, points=50_000)
    unseen = shape(bimodal(200_000, 2))[:, 0]
    assert stats.kstest(unseen, lambda x: mixture_cdf(fit, x)).statistic < 0.006


def test_one_component_agrees_with_scipys_maximum_likelihood():
    z = stats.t.rvs(4, 1.5, 0.3, size=4000, random_state=3)
    fit = fit_t_mixture(z[:, None], max_components=1)
    nu, loc, scale = stats.t.fit(z)
    assert fit.nu[0] == pytest.approx(nu, rel=0.01)
    assert fit.loc[0, 0] == pytest.approx(loc, abs=1e-3)
    assert fit.scale[0, 0] == pytest.approx(scale, rel=1e-3)


def test_grouping_keeps_mass_mean_and_tails():
    z = bimodal(40_000, 4)
    means, share = mixtures._reduce(z)
    ordered = np.sort(z[:, 0])
    assert len(means) < 5000
    assert share.sum() == pytest.approx(1, abs=1e-12)
    assert share @ means[:, 0] == pytest.approx(z.mean(), abs=1e-12)
    assert np.array_equal(means[:100, 0], ordered[:100])
    assert np.array_equal(means[-100:, 0], ordered[-100:])


@pytest.mark.parametrize("d", [1, 3])
def test_gradient_by_finite_differences(d):
    rng = np.random.default_rng(5)
    z, k = rng.standard_t(4, (50, d)), 2
    share = rng.dirichlet(np.ones(50))
    log_nu = np.log([3.0, 30.0])
    vector = np.concatenate((rng.normal(size=k), rng.normal(size=2 * k * d), log_nu))

    def value(v):
        return mixtures._moments(mixtures._Parameters.unpack(v, k, d), z, z**2, share)

    gradient = mixtures._gradient(mixtures._Parameters.unpack(vector, k, d), value(vector))
    numeric = approx_fprime(vector, lambda v: value(v).log_likelihood, 1e-7)
    assert gradient == pytest.approx(numeric, abs=1e-6)


@pytest.mark.parametrize("d", [1, 3])
def test_em_steps_never_lower_the_likelihood(d):
    z = (
        np.random.default_rng(6).standard_t(3, (300, d))
        + np.where(np.arange(300) % 2, 2, -2)[:, None]
    )
    share = np.full(300, 1 / 300)
    parameters, values = mixtures._slices(z, share, 3), []
    for _ in range(15):
        moments = mixtures._moments(parameters, z, z**2, share)
        values.append(moments.log_likelihood)
        parameters = mixtures._em_step(parameters, moments)
    assert np.diff(values).min() > -1e-9
    assert values[-1] > values[0] + 0.01


def test_log_prob_is_scipys_and_torchs():
    rng = np.random.default_rng(7)
    fit = fit_t_mixture(rng.standard_t(5, (3000, 2)) * [1.0, 10.0], max_components=2)
    z = rng.normal(size=(5, 2))
    density = sum(
        w * stats.multivariate_t.pdf(z, m, np.diag(s**2), df=nu)
        for w, m, s, nu in zip(fit.weights, fit.loc, fit.scale, fit.nu, strict=True)
    )
    assert fit.log_prob(z) == pytest.approx(np.log(density), rel=1e-8)
    arrays = (fit.weights, fit.loc, fit.scale, fit.nu)
    distribution = TMixture(*(torch.from_numpy(array) for array in arrays))
    assert distribution.log_prob(torch.from_numpy(z)).tolist() == pytest.approx(np.log(density))


def test_held_out_scores_are_mean_log_densities():
    z = bimodal(5000, 8) * 100  # the unit must not leak into the score
    fit = fit_t_mixture(z, max_components=3, held_out=0.5)
    assert len(fit.held_out_log_likelihood) == 3
    assert fit.held_out_log_likelihood[1] == pytest.approx(fit.log_prob(z).mean(), abs=0.05)
    assert fit.held_out_log_likelihood[1] > fit.held_out_log_likelihood[0] + 0.05


def test_light_tails_are_allowed():
    z = np.random.default_rng(9).uniform(size=(5000, 1))
    fit = fit_t_mixture(z, max_components=1)
    assert fit.nu[0] > 1e5
    assert fit.scale[0, 0] == pytest.approx(z.std(), rel=1e-3)


def test_components_do_not_collapse_on_repeated_points():
    rng = np.random.default_rng(10)
    z = np.concatenate((np.full(600, 0.25), rng.normal(size=1400)))[:, None]
    fit = fit_t_mixture(z, max_components=4)
    unit = np.subtract(*np.quantile(z, [0.75, 0.25])) / 1.349
    assert fit.scale.min() >= 0.9 * mixtures.SCALE_MIN * unit
    assert np.isfinite(fit.log_prob(z)).all()


@pytest.mark.parametrize("value", [0.0, -3e4])
def test_a_constant_sample_gives_a_finite_distribution(value):
    fit = fit_t_mixture(np.full((100, 2), value), max_components=2)
    assert np.isfinite(fit.log_prob(np.full((1, 2), value))).all()
    assert (np.abs(fit.loc - value) <= 1e-5 * (1 + abs(value))).all()


def test_affine_maps_of_the_sample_map_the_fit():
    z = bimodal(4000, 11)
    plain = fit_t_mixture(z, max_components=2)
    moved = fit_t_mixture(1e-3 * z + 50, max_components=2)
    assert moved.loc == pytest.approx(1e-3 * plain.loc + 50, abs=1e-6)
    assert moved.scale == pytest.approx(1e-3 * plain.scale, rel=1e-3)
    assert moved.nu == pytest.approx(plain.nu, rel=1e-2)


def test_the_seed_decides_the_subset():
    z = bimodal(4000, 12)
    first, again, other = (
        fit_t_mixture(z, max_components=2, points=1000, seed=seed) for seed in (0, 0, 1)
    )
    assert np.array_equal(first.loc, again.loc)
    assert np.array_equal(first.nu, again.nu)
    assert not np.array_equal(first.loc, other.loc)


def test_bad_arguments_are_refused():
    z = np.zeros((30, 1))
    with pytest.raises(ConfigError) as caught:
        fit_t_mixture(z, max_components=0, points=3, held_out=1.0, iterations=0, tolerance=0.0)
    assert len(caught.value.problems) == 5
    with pytest.raises(DataError, match="shape"):
        fit_t_mixture(z[:, 0])
    with pytest.raises(DataError, match="at least 20"):
        fit_t_mixture(z[:5])
    z[3] = np.nan
    with pytest.raises(DataError, match="1 of 30 points are not finite"):
        fit_t_mixture(z)
