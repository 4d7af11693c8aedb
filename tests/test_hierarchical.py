"""The two-level objectives against their published form and the exact divergence."""

import math

import numpy as np
import pytest
import torch

from t3vae.errors import ConfigError
from t3vae.maths.constants import gamma_constants, hierarchical_constants
from t3vae.maths.divergence import gamma_divergence_t
from t3vae.maths.hierarchical import (
    hierarchical_regularizers,
    joint_hierarchical_regularizer,
)
from t3vae.stages.verify import FUNCTIONS


def random(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


@pytest.fixture
def levels():
    """mu1, logvar1, mu2, logvar2 and the level-2 prior location for m1 = 2, m2 = 3."""
    return (
        random(1, 5, 2),
        random(2, 5, 2),
        random(3, 5, 3),
        random(4, 5, 3),
        random(5, 5, 3),
    )


@pytest.mark.parametrize("weight", [None, 1.0, 0.4])
@pytest.mark.parametrize(("nu", "n", "sigma"), [(2.5, 1, 1.0), (5.0, 4, 0.3), (10.0, 300, 1.0)])
def test_regularizers_are_the_published_ones(levels, nu, n, sigma, weight):
    mu1, logvar1, mu2, logvar2, prior = levels
    c = hierarchical_constants(nu, n, 2, 3, sigma)
    reg1, reg2 = hierarchical_regularizers(*levels, c, weight)
    w = 1 + c.gamma if weight is None else weight
    a = math.exp(c.log_A)
    power1 = torch.exp(0.5 * c.kappa * logvar1.sum(-1))
    power2 = torch.exp(0.5 * c.kappa * logvar2.sum(-1))
    trace1 = nu / (nu + n - 2) * logvar1.exp().sum(-1)
    trace2 = nu / (nu + n + 2 - 2) * logvar2.exp().sum(-1)
    expected1 = mu1.square().sum(-1) + trace1 - w * a * power1
    expected2 = (mu2 - prior).square().sum(-1) + trace2 - a * power2
    assert torch.allclose(reg1, expected1, rtol=1e-9, atol=1e-9)
    assert torch.allclose(reg2, expected2, rtol=1e-9, atol=1e-9)


def test_loss_adds_the_parts(levels):
    x, recon = random(6, 5, 4), random(7, 5, 4)
    c = hierarchical_constants(5.0, 4, 2, 3, 0.5)
    reg1, reg2 = hierarchical_regularizers(*levels, c)
    loss = FUNCTIONS["t3h_loss"](x, recon, *levels, 5.0, 0.5, "1+gamma")
    expected = ((x - recon).square().sum(-1) / 0.25 + reg1 + reg2).mean()
    assert loss["total_2x"].item() == pytest.approx(expected.item(), rel=1e-12)
    assert loss["reg1"].item() == pytest.approx(reg1.mean().item())
    assert loss["reg2"].item() == pytest.approx(reg2.mean().item())


def test_gradient_is_accurate_in_single_precision_with_large_nu(levels):
    c = hierarchical_constants(1e6, 4, 2, 3, 0.5)
    gradients = []
    for dtype in (torch.float64, torch.float32):
        leaves = [level.to(dtype).requires_grad_() for level in levels]
        value = sum(reg.sum() for reg in hierarchical_regularizers(*leaves, c))
        gradients.append(torch.autograd.grad(value, leaves))
    for double, single in zip(*gradients, strict=True):
        assert torch.allclose(double, single.double(), rtol=1e-4, atol=1e-5)


def test_joint_regularizer_is_the_divergence_in_expectation():
    """With mu_theta(z1) = A z1 the prior is jointly t after the shear z2 -> z2 - A z1."""
    nu, n, m1, m2, sigma = 5.0, 4, 2, 3, 0.8
    c = gamma_constants(nu, n, m1 + m2, sigma)
    mu1, mu2, logvar1, logvar2 = random(1, 2), random(2, 3), random(3, 2), random(4, 3)
    matrix = random(5, 3, 2)
    # E over z1 of |mu2 - A z1|^2 = |mu2 - A mu1|^2 + tr(A Cov(z1) A^T)
    covariance = nu / (nu + n - 2) * torch.diag(logvar1.exp())
    spread = torch.trace(matrix @ covariance @ matrix.T)
    expectation = spread + joint_hierarchical_regularizer(
        mu1[None], logvar1[None], mu2[None], logvar2[None], (matrix @ mu1)[None], c
    )
    shear = torch.eye(m1 + m2, dtype=torch.float64)
    shear[m1:, :m1] = -matrix
    scale = torch.diag(torch.cat((logvar1, logvar2)).exp()) / (1 + n / nu)
    divergence = gamma_divergence_t(
        shear @ torch.cat((mu1, mu2)),
        shear @ scale @ shear.T,
        torch.zeros(m1 + m2, dtype=torch.float64),
        c.tau_sq * torch.eye(m1 + m2, dtype=torch.float64),
        nu + n,
    )
    assert expectation.item() == pytest.approx(2 * c.alpha * divergence.item(), rel=1e-10)


def test_bad_arguments_are_refused(levels):
    with pytest.raises(ConfigError, match="two levels have 5 dimensions"):
        joint_hierarchical_regularizer(*levels, gamma_constants(5.0, 4, 4, 1.0))
    with pytest.raises(ConfigError, match="must be positive"):
        hierarchical_regularizers(*levels, hierarchical_constants(5.0, 4, 2, 3, 1.0), -1.0)
