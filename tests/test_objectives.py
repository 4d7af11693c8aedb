"""Objectives of the baselines against SciPy, torch's own divergences and Monte Carlo."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from t3vae.errors import ConfigError
from t3vae.maths.distributions import DiagonalGaussian, MultivariateT
from t3vae.maths.objectives import (
    de_regularizer_2x,
    discriminator_loss,
    gaussian_kl_2x,
    student_t_kl_2x,
    student_t_nll_2x,
    total_correlation_2x,
)
from t3vae.stages.verify import FUNCTIONS


def random(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def normal(mean, sd):
    """A normal distribution in float64: torch reads plain numbers as float32."""
    return Normal(*(torch.tensor(value, dtype=torch.float64) for value in (mean, sd)))


@pytest.mark.parametrize("prior_scale", [1.0, 1.5, 0.2])
@pytest.mark.parametrize("m", [1, 3])
def test_gaussian_kl_is_torchs(prior_scale, m):
    mu, logvar = random(0, 5, m), random(1, 5, m)
    expected = kl_divergence(Normal(mu, (0.5 * logvar).exp()), normal(0.0, prior_scale)).sum(-1)
    assert torch.allclose(gaussian_kl_2x(mu, logvar, prior_scale), 2 * expected, rtol=1e-12)
    leaves = mu.requires_grad_(), logvar.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: gaussian_kl_2x(a, b, prior_scale), leaves)


def test_gaussian_kl_refuses_a_bad_scale():
    with pytest.raises(ConfigError, match="prior_scale = 0"):
        gaussian_kl_2x(torch.zeros(1, 1), torch.zeros(1, 1), 0.0)


def test_negative_elbo_is_the_sum_of_its_definitions():
    x, recon, mu, logvar = (
        random(0, 5, 4),
        random(1, 5, 4),
        random(2, 5, 2),
        random(3, 5, 2),
    )
    sigma, k = 0.3, 1.7
    likelihood = Normal(recon, torch.full_like(recon, sigma)).log_prob(x).sum(-1)
    kl = kl_divergence(Normal(mu, (0.5 * logvar).exp()), normal(0.0, k)).sum(-1)
    expected = (kl - likelihood).mean().item()
    actual = FUNCTIONS["neg_elbo_gauss"](x, recon, mu, logvar, sigma, k)
    assert actual.item() == pytest.approx(expected, rel=1e-12)


def test_student_t_likelihood_is_scipys():
    x, mu, loglam, lognu = (
        random(0, 5, 3),
        random(1, 5, 3),
        random(2, 5, 3),
        2 * random(3, 5, 3),
    )
    scale = np.exp(-0.5 * loglam.numpy())
    expected = -2 * stats.t.logpdf(x.numpy(), np.exp(lognu.numpy()), mu.numpy(), scale).sum(-1)
    assert student_t_nll_2x(x, mu, loglam, lognu).tolist() == pytest.approx(expected, rel=1e-10)
    leaves = [a.requires_grad_() for a in (mu, loglam, lognu)]
    assert torch.autograd.gradcheck(lambda *a: student_t_nll_2x(x, *a), leaves)


def test_student_t_likelihood_in_single_precision_with_large_nu():
    x, mu, loglam = random(0, 50, 1), random(1, 50, 1), random(2, 50, 1)
    lognu = torch.full((50, 1), math.log(1e6), dtype=torch.float64)
    single = student_t_nll_2x(x.float(), mu.float(), loglam.float(), lognu.float())
    normal = -2 * Normal(mu, (-0.5 * loglam).exp()).log_prob(x).sum(-1)
    assert torch.allclose(single.double(), normal, rtol=1e-4, atol=1e-4)


def test_de_regularizer_is_entropy_and_cross_entropy():
    z, logvar = random(0, 5, 3), random(1, 5, 3)
    entropy = Normal(0.0, (0.5 * logvar).exp()).entropy().sum(-1)
    cross = stats.t.logpdf(z.numpy(), 4.0).sum(-1)
    expected = -2 * entropy.numpy() - 2 * cross
    assert de_regularizer_2x(z, logvar, 4.0).tolist() == pytest.approx(expected, rel=1e-10)


def test_student_t_divergence_is_a_log_ratio():
    z, mu, var = random(0, 5, 3), random(1, 5, 3), random(2, 5, 3).exp()
    nu_q = random(3, 5).exp() + 3
    actual = student_t_kl_2x(z, mu, var, nu_q, 7.0)
    for i in range(5):
        log_q = stats.multivariate_t.logpdf(z[i], mu[i], np.diag(var[i]), df=nu_q[i].item())
        log_p = stats.multivariate_t.logpdf(z[i], np.zeros(3), np.eye(3), df=7.0)
        assert actual[i].item() == pytest.approx(2 * (log_q - log_p), rel=1e-9)
    leaves = [a.requires_grad_() for a in (z, mu, var, nu_q)]
    assert torch.autograd.gradcheck(lambda *a: student_t_kl_2x(*a, 7.0), leaves)


def test_one_draw_estimates_are_unbiased():
    """The mean over samples is non-negative, and zero if encoder and prior agree."""
    count = 200_000
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mu, var = torch.zeros(count, 2), torch.ones(count, 2)
        nu = torch.full((count,), 6.0)
        same = student_t_kl_2x(MultivariateT(mu, 1.0, 6.0).sample(), mu, var, nu, 6.0)
        assert same.abs().max() < 1e-5
        other = student_t_kl_2x(MultivariateT(mu, 1.0, 6.0).sample(), mu, var, nu, 3.0).mean()
        assert 0.01 < other < 1
        # nu -> infinity turns the t prior of the DE-VAE into a normal one
        logvar = torch.full((count, 2), -0.5)
        samples = DiagonalGaussian(mu + 0.7, (0.5 * logvar).exp()).sample()
        estimate = de_regularizer_2x(samples, logvar, 1e5).mean()
        assert estimate.item() == pytest.approx(
            gaussian_kl_2x(mu[:1] + 0.7, logvar[:1]).item(), rel=0.02
        )


def test_discriminator_loss_is_the_mean_cross_entropy():
    joint, permuted = 3 * random(0, 6, 2), 3 * random(1, 6, 2)
    zeros, ones = torch.zeros(6, dtype=torch.long), torch.ones(6, dtype=torch.long)
    expected = 0.5 * (
        functional.cross_entropy(joint, zeros) + functional.cross_entropy(permuted, ones)
    )
    assert discriminator_loss(joint, permuted).item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.isfinite(discriminator_loss(1e4 * joint, 1e4 * permuted))


def test_total_correlation_is_the_log_density_ratio():
    """For an optimal discriminator, softmax_0 / softmax_1 is the ratio of the densities."""
    log_ratio = random(0, 7)
    probability = torch.sigmoid(log_ratio)
    logits = torch.stack((probability.log(), (1 - probability).log()), -1)
    expected = 2 * log_ratio.mean().item()
    assert total_correlation_2x(logits).item() == pytest.approx(expected, rel=1e-10)
