"""The gamma-power objective against quadrature, its definition, autograd and limits."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import multivariate_t
from scipy.stats import t as student_t

from t3vae.errors import ConfigError
from t3vae.maths.constants import gamma_constants, log_t_normalizer
from t3vae.maths.divergence import (
    conditional_regularizer,
    gamma_divergence_t,
    gamma_regularizer,
)
from t3vae.maths.objectives import gaussian_kl_2x
from t3vae.stages.verify import FUNCTIONS


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def random(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def literal_regularizer(mu, logvar, c):
    """The regularizer as published, without rearrangement."""
    order = c.nu + c.n - 2
    weight = c.nu * math.exp(c.log_C1_over_C2)
    entropy = weight * torch.exp(0.5 * c.kappa * logvar.sum(-1))
    trace = c.nu / order * logvar.exp().sum(-1)
    return mu.square().sum(-1) + trace - entropy + c.nu_prime_tau_sq


def divergence_by_definition(log_q, log_p, gamma, integrate):
    """-1/gamma [int q (p / |p|)^gamma - |q|] with |f| the (1 + gamma)-norm."""

    def norm(log_f):
        return integrate(lambda x: np.exp((1 + gamma) * log_f(x))) ** (1 / (1 + gamma))

    cross = integrate(lambda x: np.exp(log_q(x) + gamma * log_p(x))) / norm(log_p) ** gamma
    return -(cross - norm(log_q)) / gamma


@pytest.mark.parametrize("nu", [2.2, 5.0, 40.0])
def test_divergence_in_one_dimension_by_quadrature(nu):
    mu0, s0, mu1, s1 = 0.7, 0.5, -0.3, 1.8

    def integrate(f):  # x = sinh(u) turns power tails into exponential ones
        return quad(lambda u: f(np.sinh(u)) * np.cosh(u), -150, 150, epsabs=0, epsrel=1e-11,
                    points=[-20, -3, 0, 3, 20], limit=400)[0]  # fmt: skip

    expected = divergence_by_definition(
        lambda x: student_t.logpdf(x, nu, mu0, math.sqrt(s0)),
        lambda x: student_t.logpdf(x, nu, mu1, math.sqrt(s1)),
        -2 / (nu + 1),
        integrate,
    )
    actual = gamma_divergence_t(tensor([mu0]), tensor([[s0]]), tensor([mu1]), tensor([[s1]]), nu)
    assert actual.item() == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("nu", [3.0, 8.0])
def test_divergence_in_two_dimensions_by_quadrature(nu):
    mu0, mu1 = np.array([0.3, -0.2]), np.array([0.0, 0.4])
    scale0, scale1 = (
        np.array([[0.8, 0.3], [0.3, 0.6]]),
        np.array([[1.2, -0.2], [-0.2, 1.5]]),
    )
    # polar coordinates: trapezoid in the angle, and in log r
    angle = np.linspace(0, 2 * np.pi, 128, endpoint=False)
    log_r = np.linspace(-14, 45, 4000)
    r = np.exp(log_r)
    points = r[:, None, None] * np.stack((np.cos(angle), np.sin(angle)), -1)
    measure = (r**2)[:, None] * (log_r[1] - log_r[0]) * (2 * np.pi / 128)

    def log_density(mu, scale):
        delta = np.einsum("abi,ij,abj->ab", points - mu, np.linalg.inv(scale), points - mu)
        log_det = np.linalg.slogdet(scale)[1]
        value = log_t_normalizer(nu, 2) - 0.5 * log_det - 0.5 * (nu + 2) * np.log1p(delta / nu)
        return lambda _: value

    expected = divergence_by_definition(
        log_density(mu0, scale0),
        log_density(mu1, scale1),
        -2 / (nu + 2),
        lambda f: float((f(None) * measure).sum()),
    )
    actual = gamma_divergence_t(
        torch.from_numpy(mu0),
        torch.from_numpy(scale0),
        torch.from_numpy(mu1),
        torch.from_numpy(scale1),
        nu,
    )
    assert actual.item() == pytest.approx(expected, rel=1e-6)


def test_divergence_tends_to_kullback_leibler():
    mu0, mu1 = random(0, 3), random(1, 3)
    a, b = random(2, 3, 3), random(3, 3, 3)
    scale0 = a @ a.T + torch.eye(3, dtype=torch.float64)
    scale1 = b @ b.T + torch.eye(3, dtype=torch.float64)
    normal = torch.distributions.MultivariateNormal
    expected = torch.distributions.kl_divergence(normal(mu0, scale0), normal(mu1, scale1))
    errors = [
        abs((gamma_divergence_t(mu0, scale0, mu1, scale1, nu) - expected).item())
        for nu in (1e4, 1e8)
    ]
    assert errors[1] < 1e-6 < errors[0] < 1e-2


def test_divergence_vanishes_only_for_equal_distributions():
    mu, scale = random(0, 2), torch.diag(tensor([0.5, 2.0]))
    assert gamma_divergence_t(mu, scale, mu, scale, 5.0).item() == 0
    assert gamma_divergence_t(mu, scale, mu, 1.01 * scale, 5.0).item() > 0


@given(
    nu=st.floats(2.001, 1e6),
    n=st.integers(1, 12288),
    m=st.integers(1, 6),
    sigma=st.floats(0.05, 5.0),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=100, deadline=None)
def test_regularizer_is_twice_alpha_the_divergence(nu, n, m, sigma, seed):
    c = gamma_constants(nu, n, m, sigma)
    mu, logvar = random(seed, 1, m), c.shift + random(seed + 1, 1, m)
    value = gamma_regularizer(mu, logvar, c)[0]
    divergence = gamma_divergence_t(
        mu[0],
        torch.diag(logvar[0].exp()) / (1 + n / nu),
        torch.zeros(m, dtype=torch.float64),
        c.tau_sq * torch.eye(m, dtype=torch.float64),
        nu + n,
    )
    assert value.item() > 0
    assert value.item() == pytest.approx(2 * c.alpha * divergence.item(), rel=1e-8, abs=1e-9)


@given(nu=st.floats(2.01, 1e3), n=st.integers(1, 12288), m=st.integers(1, 64))
@settings(max_examples=60, deadline=None)
def test_stable_form_is_the_literal_form(nu, n, m):
    c = gamma_constants(nu, n, m, 0.8)
    mu, logvar = random(n, 4, m), random(m, 4, m)
    literal = literal_regularizer(mu, logvar, c)
    assert torch.allclose(gamma_regularizer(mu, logvar, c), literal, rtol=1e-9, atol=1e-8)


CURVES = {  # R at mu = 0 for Sigma = 0.05, 0.25, 0.5, 1, 1.499, and where it vanishes
    2.1: ((0.062912, 0.402525, 0.848966, 1.760622, 2.680824), 0.001949),
    3.0: ((0.090456, 0.009998, 0.146825, 0.596745, 1.135116), 0.183776),
    5.0: ((0.653409, 0.114719, 0.001098, 0.136615, 0.441501), 0.533578),
}


@pytest.mark.parametrize("nu", CURVES)
def test_regularizer_has_the_reference_values(nu):
    values, zero = CURVES[nu]
    c = gamma_constants(nu, 1, 1, 1.0)
    variance = tensor([[0.05], [0.25], [0.5], [1.0], [1.499]])
    actual = gamma_regularizer(torch.zeros_like(variance), variance.log(), c)
    assert actual.tolist() == pytest.approx(values, abs=6e-7)
    assert math.exp(c.shift) == pytest.approx(zero, abs=6e-7)


@pytest.mark.parametrize("m", [1, 5])
def test_regularizer_vanishes_at_the_alternative_prior(m):
    c = gamma_constants(7.0, 3, m, 0.3)
    mu = torch.zeros(1, m, dtype=torch.float64)
    logvar = torch.full((1, m), math.log(c.tau_sq * (1 + c.n / c.nu)), dtype=torch.float64)
    assert gamma_regularizer(mu, logvar, c).item() == pytest.approx(0, abs=1e-13)
    assert gamma_regularizer(mu, logvar + 0.1, c).item() > 1e-4


@pytest.mark.parametrize("m", [1, 3])
def test_regularizer_gradients(m):
    c = gamma_constants(5.0, 2, m, 0.5)
    mu = random(0, 4, m).requires_grad_()
    logvar = random(1, 4, m).requires_grad_()
    function = partial(gamma_regularizer, constants=c)
    assert torch.autograd.gradcheck(function, (mu, logvar))
    assert torch.autograd.gradgradcheck(function, (mu, logvar))
    # against autograd through the published form
    ours = torch.autograd.grad(function(mu, logvar).sum(), (mu, logvar))
    published = torch.autograd.grad(literal_regularizer(mu, logvar, c).sum(), (mu, logvar))
    for left, right in zip(ours, published, strict=True):
        assert torch.allclose(left, right, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("m", [1, 4])
def test_regularizer_only_differentiates_what_asks_for_it(m):
    c = gamma_constants(5.0, 2, m, 0.5)
    mu, logvar = random(0, 4, m), random(1, 4, m).requires_grad_()
    (gradient,) = torch.autograd.grad(gamma_regularizer(mu, logvar, c).mean(), logvar)
    bar = (logvar - c.shift).sum(-1, keepdim=True) / c.order
    expected = c.v_star * ((logvar - c.shift).exp() - bar.exp()) / 4
    assert torch.allclose(gradient, expected)
    assert mu.grad is None


def test_regularizer_in_single_precision_with_large_nu():
    c = gamma_constants(1e6, 1, 2, 0.1)
    mu, logvar = random(0, 64, 2), random(1, 64, 2)
    exact = gamma_regularizer(mu, logvar, c)
    single = gamma_regularizer(mu.float(), logvar.float(), c)
    assert (single.double() - exact).abs().max() < 5e-6
    literal = literal_regularizer(mu.float(), logvar.float(), c)
    assert (literal.double() - exact).abs().max() > 1e-3  # why the stable form is used


def test_regularizer_leaves_its_arguments_alone():
    c = gamma_constants(5.0, 2, 3, 0.5)
    mu, logvar = random(0, 4, 3), random(1, 4, 3)
    before = mu.clone(), logvar.clone()
    gamma_regularizer(mu, logvar, c)
    assert torch.equal(mu, before[0])
    assert torch.equal(logvar, before[1])


def test_regularizer_refuses_unequal_shapes():
    c = gamma_constants(5.0, 2, 3, 0.5)
    with pytest.raises(ConfigError, match="equal shapes"):
        gamma_regularizer(torch.zeros(2, 3), torch.zeros(2, 1), c)


def test_gaussian_limit_of_loss_and_total():
    x, recon, mu, logvar = (
        random(0, 6, 3),
        random(1, 6, 3),
        random(2, 6, 2),
        random(3, 6, 2),
    )
    sigma = 0.8
    elbo = FUNCTIONS["neg_elbo_gauss"](x, recon, mu, logvar, sigma, 1.0)
    total = ((x - recon).square().sum(-1) / sigma**2 + gaussian_kl_2x(mu, logvar)).mean()
    errors = []
    for nu in (1e3, 1e4):
        loss = FUNCTIONS["gamma_loss"](x, recon, mu, logvar, nu, sigma, 1.0)
        errors.append(abs((loss["L_gamma"] + nu / 2 - elbo).item()))
        assert loss["total_2x"].item() == pytest.approx(total.item(), abs=400 / nu)
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.1)  # the error is O(1 / nu)


def test_loss_is_the_published_one():
    x, recon, mu, logvar = (
        random(0, 6, 3),
        random(1, 6, 3),
        random(2, 6, 2),
        random(3, 6, 2),
    )
    c = gamma_constants(4.0, 3, 2, 0.6)
    loss = FUNCTIONS["gamma_loss"](x, recon, mu, logvar, 4.0, 0.6, 0.3)
    squared = (x - recon).square().sum(-1) / 0.36
    trace = c.nu / (c.nu + 1) * logvar.exp().sum(-1)
    power = -c.gamma / (2 * (1 + c.gamma))
    entropy = c.nu * math.exp(c.log_C1 - c.log_C2) * logvar.exp().prod(-1) ** power
    expected = 0.5 * (squared + mu.square().sum(-1) + trace - entropy).mean()
    assert loss["L_gamma"].item() == pytest.approx(expected.item(), rel=1e-12)
    assert loss["total_2x"].item() == pytest.approx(
        loss["recon"].item() + 0.3 * loss["reg"].item(), rel=1e-14
    )


def test_loss_and_constants_against_the_joint_divergence_by_quadrature():
    """n = m = 1, linear networks, constant encoder scale: every integral is two-dimensional."""
    nu, sigma, a, b, mean, logvar = 5.0, 0.7, 0.6, 1.3, 0.2, -0.4
    c = gamma_constants(nu, 1, 1, sigma)
    u = np.linspace(-22, 22, 1800)
    step = u[1] - u[0]
    x, z = np.sinh(u)[:, None], np.sinh(u)[None, :]
    measure = np.cosh(u)[:, None] * np.cosh(u)[None, :] * step**2
    log_data = student_t.logpdf(x, 6, 0.3, 0.9)
    q_scale = math.sqrt(math.exp(logvar) / (1 + 1 / nu))
    log_q = log_data + student_t.logpdf(z, nu + 1, mean + a * x, q_scale)
    log_p = FUNCTIONS["joint_logpdf"](
        torch.from_numpy(np.broadcast_to(x, (1800, 1800)).copy()).unsqueeze(-1),
        torch.from_numpy(np.broadcast_to(z, (1800, 1800)).copy()).unsqueeze(-1),
        torch.from_numpy(np.broadcast_to(b * z, (1800, 1800)).copy()).unsqueeze(-1),
        nu,
        sigma,
    ).numpy()
    expected = divergence_by_definition(
        lambda _: log_q,
        lambda _: log_p,
        c.gamma,
        lambda f: float((f(None) * measure).sum()),
    )

    def over_data(f):
        return float((f * np.exp(log_data) * np.cosh(u)[:, None] * step).sum())

    location = mean + a * x
    variance = nu / (nu - 1) * math.exp(logvar)
    error = over_data((x - b * location) ** 2) + b * b * variance
    moments = error / sigma**2 + over_data(location**2) + variance
    data_norm = float((np.exp((1 + c.gamma) * log_data) * np.cosh(u)[:, None] * step).sum())
    entropy = (data_norm * math.exp(-0.5 * c.gamma * logvar)) ** (1 / (1 + c.gamma))
    c1, c2 = math.exp(c.log_C1), math.exp(c.log_C2)
    formula = -c2 / (c.gamma * nu) * (nu + moments - nu * c1 / c2 * entropy)
    assert formula == pytest.approx(expected, rel=1e-6)
    # and the loss differs from it by alpha and by the entropy of the data alone
    loss = 0.5 * (moments - nu * c1 / c2 * math.exp(0.5 * c.kappa * logvar))
    regularizer = gamma_regularizer(
        torch.from_numpy(location),
        torch.full((1800, 1), logvar, dtype=torch.float64),
        c,
    )
    weights = np.exp(log_data[:, 0]) * np.cosh(u) * step
    ours = 0.5 * (error / sigma**2 + float(regularizer.numpy() @ weights) - c.nu_prime_tau_sq)
    assert ours == pytest.approx(loss, rel=1e-9)


def test_joint_density_is_prior_times_decoder():
    nu, sigma, n, m = 4.0, 0.6, 3, 2
    x, z, recon = random(0, 5, n), random(1, 5, m), random(2, 5, n)
    actual = FUNCTIONS["joint_logpdf"](x, z, recon, nu, sigma)
    for i in range(5):
        prior = multivariate_t.logpdf(z[i], np.zeros(m), np.eye(m), df=nu)
        widening = (1 + z[i].square().sum().item() / nu) / (1 + m / nu)
        decoder = multivariate_t.logpdf(x[i], recon[i], widening * sigma**2 * np.eye(n), df=nu + m)
        assert actual[i].item() == pytest.approx(prior + decoder, rel=1e-10)


def test_conditional_regularizer_is_the_divergence_to_the_class_prior():
    c = gamma_constants(5.0, 4, 2, 0.9)
    mu, logvar, centre = random(0, 1, 2), random(1, 1, 2), random(2, 1, 2)
    divergence = gamma_divergence_t(
        mu[0],
        torch.diag(logvar[0].exp()) / (1 + 4 / 5),
        centre[0],
        c.tau_sq * torch.eye(2, dtype=torch.float64),
        9.0,
    )
    value = conditional_regularizer(mu, logvar, centre, c)
    assert value.item() == pytest.approx(2 * c.alpha * divergence.item(), rel=1e-10)


def test_bad_divergence_arguments_are_refused():
    zero, one = torch.zeros(2), torch.eye(2)
    with pytest.raises(ConfigError, match="greater than 2"):
        gamma_divergence_t(zero, one, zero, one, 2.0)
    with pytest.raises(ConfigError, match="scale0"):
        gamma_divergence_t(zero, -one, zero, one, 3.0)
