"""What is particular to the hierarchical, conditional, factorising and tilted models."""

from __future__ import annotations

import math

import pytest
import torch

import t3vae
from t3vae import models
from t3vae.errors import ConfigError, DataError
from t3vae.maths.constants import gamma_constants
from t3vae.maths.divergence import gamma_regularizer
from t3vae.maths.hierarchical import hierarchical_regularizers
from t3vae.maths.objectives import gaussian_kl_2x
from t3vae.stages.verify import FUNCTIONS
from t3vae.training import loop

NETWORK = {"kind": "mlp", "hidden": [16, 16], "negative_slope": 0.01}


def build(family: str, shape=(3,), m: int = 2, sigma: float = 0.7, **given):
    torch.manual_seed(1)
    return models.build(
        {"family": family, **given}, list(shape), m, sigma=sigma, network=NETWORK, classes=4
    )


# -- two levels --------------------------------------------------------------------------


def pairs(model, rows: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """Latent points, and the same with the lower level measured from its prior location."""
    z = torch.randn(rows, model.latent_dim, dtype=torch.float64)
    z1, z2 = z.split(model.dims, 1)
    return z, torch.cat([z1, z2 - model.prior_location(z1)], 1).detach()


def test_two_level_t_model_factorises_its_joint_density() -> None:
    model = build("t3hvae", nu=4.0, latent_dim_2=3).double()
    x = torch.randn(9, 3, dtype=torch.float64)
    z, centred = pairs(model)
    product = model.prior().log_prob(z) + model.decode(z).log_prob(x)
    joint = FUNCTIONS["joint_logpdf"](x, centred, model.decoder(z), model.nu, model.sigma)
    torch.testing.assert_close(product, joint)


def test_joint_alternative_is_one_t_distribution() -> None:
    from t3vae.maths.distributions import MultivariateT

    model = build("t3hvae", nu=4.0, latent_dim_2=3, objective="joint").double()
    z, centred = pairs(model)
    flat = gamma_constants(4.0, 3, 5, 0.7)
    distribution = MultivariateT(torch.zeros(5, dtype=torch.float64), flat.tau, flat.nu_prime)
    torch.testing.assert_close(model.alternative().log_prob(z), distribution.log_prob(centred))


def test_joint_encoder_is_jointly_t_where_the_lower_level_ignores_the_upper() -> None:
    from t3vae.maths.distributions import MultivariateT

    model = build("t3hvae", nu=4.0, latent_dim_2=3, objective="joint").double()
    with torch.no_grad():
        model.lower.weight[:, -2:] = 0.0
    x = torch.randn(1, 3, dtype=torch.float64)
    (mu1, logvar1, mu2, logvar2, _), _ = model._encode_and_draw(x)
    scale = torch.exp(0.5 * torch.cat([logvar1, logvar2], 1)) / math.sqrt(1 + 3 / 4.0)
    distribution = MultivariateT(torch.cat([mu1, mu2], 1), scale, 4.0 + 3)
    z = torch.randn(6, 1, 5, dtype=torch.float64)
    torch.testing.assert_close(model.encode(x).log_prob(z), distribution.log_prob(z))


def test_upper_scale_of_the_alternative_minimises_its_regularizer() -> None:
    model = build("t3hvae", nu=5.0, latent_dim_2=4)
    tau1 = float(model.alternative().first.scale.flatten()[0])
    s = tau1**2 * (5.0 + 3) / 5.0

    def upper(scale: float) -> float:
        log = torch.full((1, 2), math.log(scale), dtype=torch.float64)
        zero, other = torch.zeros_like(log), torch.zeros(1, 4, dtype=torch.float64)
        return float(hierarchical_regularizers(zero, log, other, other, other, model.constants)[0])

    assert upper(s) < min(upper(0.99 * s), upper(1.01 * s))


def test_lower_noise_alone_is_scaled_in_generation() -> None:
    model = build("t3hvae", nu=5.0, latent_dim_2=4)
    with torch.no_grad():
        model.prior_location.bias.fill_(100.0)
    torch.manual_seed(0)
    z1, z2 = model.alternative().sample((50_000,)).split(model.dims, 1)
    residual = z2 - model.prior_location(z1).detach()
    nu = 5.0 + 3 + 2
    expected = math.exp(model.constants.log_tau2) * math.sqrt(nu / (nu - 2))
    assert float(residual.std()) == pytest.approx(expected, rel=0.02)
    assert float(z2.mean()) == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize("objective", ["joint", "per_level"])
def test_two_level_t_model_tends_to_the_gaussian_one(objective) -> None:
    """At nu -> infinity the regularizers have the same gradient."""
    t = build("t3hvae", nu=1e6, objective=objective).double()
    gaussian = build("hvae").double()
    gaussian.load_state_dict(t.state_dict())
    x = torch.randn(40_000, 3, dtype=torch.float64)
    slopes = []
    for model in (t, gaussian):
        torch.manual_seed(4)
        model.loss(x).regularizer.backward()
        slopes.append(model.upper.weight.grad)
    torch.testing.assert_close(slopes[0], slopes[1], rtol=0.02, atol=0.02)
    if objective == "joint":
        a, b = t.loss(x).regularizer, gaussian.loss(x).regularizer
        assert float(a) == pytest.approx(float(b), rel=0.01)


def test_matched_two_level_control_uses_all_latent_dimensions() -> None:
    model = build("hvae", beta="matched", prior_scale="matched", nu=10.0, latent_dim_2=5)
    v_star = gamma_constants(10.0, 3, 7, 0.7).v_star
    assert model.beta == pytest.approx(v_star)
    assert model.prior_scale**2 == pytest.approx(v_star)
    z1, z2 = model.prior().sample((40_000,)).split(model.dims, 1)
    assert float(z1.var()) == pytest.approx(v_star, rel=0.03)
    assert float((z2 - model.prior_location(z1)).var()) == pytest.approx(v_star, rel=0.03)


def test_own_encoder_must_say_its_width() -> None:
    layers = {"encoder": torch.nn.Linear(3, 5), "decoder": torch.nn.Linear(4, 3)}
    with pytest.raises(ConfigError, match="attribute `width`"):
        models.model_class("hvae")(3, 2, **layers)


# -- conditional -------------------------------------------------------------------------


def spread(model) -> None:
    with torch.no_grad():
        model.centres.weight.copy_(20 * torch.eye(4, model.latent_dim) - 7)


@pytest.mark.parametrize(("family", "given"), [("c_vae", {}), ("c_t3vae", {"nu": 5.0})])
@pytest.mark.parametrize("distribution", ["prior", "alternative", "fitted"])
def test_draws_are_balanced_and_lie_at_their_class(family, given, distribution) -> None:
    model = build(family, m=4, **given)
    spread(model)
    if distribution == "fitted":
        rows = torch.tensor([0] * 300 + [1] * 30 + [2] * 3 + [3])
        with torch.no_grad():
            model.head.weight.zero_()
            model.head.bias.fill_(-6.0)
            model.head.weight[:4, -4:] = torch.eye(4)
            model.label.weight.copy_(model.centres.weight + 6)
        t3vae.fit_latent(model, torch.randn(334, 3), labels=rows)
    torch.manual_seed(0)
    y, z, x = model.sample_labelled(4000, distribution)
    assert x.shape == (4000, 3)
    assert torch.bincount(y).tolist() == pytest.approx([1000] * 4, abs=120)
    nearest = torch.cdist(z, model.centres.weight).argmin(1)
    assert float((nearest == y).float().mean()) > 0.97
    chosen, _, _ = model.sample_labelled(5, distribution, y=2)
    assert chosen.tolist() == [2] * 5


def test_conditional_t_model_tends_to_the_gaussian_one() -> None:
    t, gaussian = build("c_t3vae", nu=1e6), build("c_vae")
    torch.nn.init.normal_(t.centres.weight)
    gaussian.load_state_dict(t.state_dict())
    x, y = torch.randn(100_000, 3), torch.arange(100_000) % 4
    a, b = t.loss(x, y), gaussian.loss(x, y)
    assert float(a.regularizer) == pytest.approx(float(b.regularizer), rel=2e-3)
    assert float(a.reconstruction) == pytest.approx(float(b.reconstruction), rel=1e-2)


def test_class_location_follows_the_encodings_of_its_class() -> None:
    model = build("c_t3vae", nu=5.0)
    x, y = torch.randn(64, 3), torch.arange(64) % 4
    loss = model.loss(x, y)
    loss.regularizer.backward()
    mu, _ = model._heads(x, y)
    for label in range(4):
        excess = (model.centres.weight[label] - mu[y == label]).sum(0) * 2 / 64
        torch.testing.assert_close(model.centres.weight.grad[label], excess.detach())


def test_labels_are_checked() -> None:
    model, x = build("c_vae"), torch.randn(8, 3)
    with pytest.raises(ConfigError, match="needs the labels"):
        model.loss(x)
    with pytest.raises(DataError, match="give the labels"):
        loop.fit(model, x, epochs=1)
    with pytest.raises(DataError, match=r"must be \[8\]"):
        loop.fit(model, x, labels=torch.zeros(7), epochs=1)
    with pytest.raises(DataError, match=r"must lie in 0\.\.3"):
        loop.fit(model, x, labels=torch.full((8,), 4), epochs=1)
    with pytest.raises(ConfigError, match="classes"):
        models.build({"family": "c_vae"}, [3], 2, sigma=1.0)


# -- discriminator, tilt -------------------------------------------------------------------


def test_discriminator_and_encoder_do_not_reach_each_other() -> None:
    model = build("factor_vae", tc_weight=6.4, discriminator_width=8)
    own = {f"discriminator.{name}" for name, _ in model.discriminator.named_parameters()}
    x = torch.randn(32, 3)
    for part, inside in (("total", False), ("auxiliary", True)):
        model.zero_grad(set_to_none=True)
        getattr(model.loss(x), part).backward()
        reached = {name for name, p in model.named_parameters() if p.grad is not None}
        assert reached == {n for n, _ in model.named_parameters() if (n in own) == inside}


@pytest.mark.parametrize("frozen", [0, 1])
def test_two_optimisers_are_disjoint(frozen: int) -> None:
    """With one learning rate at zero only the other group moves."""
    from t3vae.training.optimizer import FlatAdam

    model = build("factor_vae", tc_weight=6.4, discriminator_width=8)
    groups = [group.parameters for group in model.parameter_groups()]
    rates = [{"learning_rate": 0.0 if i == frozen else 0.01} for i in range(2)]
    before = [[p.detach().clone() for p in group] for group in groups]
    optimizer = FlatAdam(*groups, learning_rate=1.0, overrides=rates)
    model.loss_and_gradients(torch.randn(32, 3))
    optimizer.step()
    moved = [
        any(not torch.equal(a, b) for a, b in zip(now, then, strict=True))
        for now, then in zip(groups, before, strict=True)
    ]
    assert moved == [frozen == 1, frozen == 0]


def test_groups_step_like_adam_on_each() -> None:
    from t3vae.training.optimizer import FlatAdam

    ours = build("factor_vae", tc_weight=6.4, discriminator_width=8)
    theirs = build("factor_vae", tc_weight=6.4, discriminator_width=8)
    x = torch.randn(32, 3)
    flat = FlatAdam(
        *(group.parameters for group in ours.parameter_groups()),
        learning_rate=0.01,
        overrides=[{}, {"learning_rate": 0.003}],
    )
    rates = (0.01, 0.003)
    reference = [
        torch.optim.Adam(group.parameters, lr=rate)
        for group, rate in zip(theirs.parameter_groups(), rates, strict=True)
    ]
    for step in range(5):
        torch.manual_seed(step)
        flat.zero_grad()
        ours.loss_and_gradients(x)
        flat.step()
        torch.manual_seed(step)
        theirs.zero_grad()
        theirs.loss(x).objective.backward()
        for optimizer in reference:
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_discriminator_has_the_published_size() -> None:
    with torch.device("meta"):
        model = models.build({"family": "factor_vae", "tc_weight": 20.0}, [3], 64, sigma=1.0)
    assert sum(p.numel() for p in model.discriminator.parameters()) == 16_142_002


def test_tilted_prior_is_drawn_not_its_radius_fixed() -> None:
    from t3vae.maths.tilted import tilted_mu_star

    model = build("tilted_vae", m=8, tilt=10.0)
    torch.manual_seed(0)
    radius = model.prior().sample((20_000,)).norm(dim=1)
    assert float(radius.std()) > 0.5
    assert float(radius.mean()) > tilted_mu_star(10.0, 8)


# --- what distinguishes t3VAE from its matched and rescaled control -------------------------


@pytest.mark.parametrize("family", ["t3vae", "c_t3vae"])
def test_entropy_weight_is_the_factor_in_the_slope_of_the_regularizer(family: str) -> None:
    torch.manual_seed(0)
    classes = {"classes": 3} if family == "c_t3vae" else {}
    model = models.build({"family": family, "nu": 4.0}, [12], 5, sigma=0.7, **classes)
    mu = torch.zeros(6, 5)
    logvar = (2.0 * torch.randn(6, 5) - 3.0).requires_grad_()
    c = gamma_constants(4.0, 12, 5, 0.7)
    gamma_regularizer(mu, logvar, c).sum().backward()
    weight = model.entropy_weight(model._posterior(mu, logvar.detach()))
    assert weight.min() > 0.01 and weight.max() < 0.9
    expected = c.v_star * (torch.exp(logvar.detach() - c.shift) - weight[:, None])
    torch.testing.assert_close(logvar.grad, expected, rtol=1e-4, atol=1e-6)


def test_weighing_the_entropy_is_a_gaussian_vae_of_another_weight_and_prior() -> None:
    torch.manual_seed(1)
    beta, scale, weight = 0.06, 0.24, 0.9
    mu, logvar = torch.randn(4, 3), torch.randn(4, 3)
    mu.requires_grad_(), logvar.requires_grad_()
    weighed = (mu.square() + logvar.exp()) / scale**2 - weight * logvar
    mine = torch.autograd.grad((beta * weighed).sum(), [mu, logvar])
    other = weight * beta * gaussian_kl_2x(mu, logvar, math.sqrt(weight) * scale)
    for left, right in zip(mine, torch.autograd.grad(other.sum(), [mu, logvar]), strict=True):
        torch.testing.assert_close(left, right)
    vae = models.build({"family": "vae"}, [4], 3, sigma=1.0)
    assert vae.entropy_weight(vae.encode(torch.zeros(2, 4))).tolist() == [1.0, 1.0]


def test_gaussian_twin_has_the_slopes_and_the_noise_of_t3vae() -> None:
    torch.manual_seed(2)
    t = models.build({"family": "t3vae", "nu": 10.0}, [768], 5, sigma=1.0)
    x, raw = torch.rand(4, 768), torch.randn(4, 10)
    mu, logvar = raw[:, :5].clone().requires_grad_(), (raw[:, 5:] - 2).requires_grad_()
    slopes = torch.autograd.grad(gamma_regularizer(mu, logvar, t.constants).sum(), [mu, logvar])
    posterior = t._posterior(mu.detach(), logvar.detach())
    for row, weight in enumerate(t.entropy_weight(posterior).tolist()):
        given = {"family": "gaussian_twin", "nu": 10.0, "entropy_weight": weight}
        twin = models.build(given, [768], 5, sigma=1.0)
        twin.encoder.forward = lambda _: torch.cat([mu, logvar], 1)
        loss = twin.beta * gaussian_kl_2x(*twin._encoded(x), twin.prior_scale)[row]
        for mine, theirs in zip(torch.autograd.grad(loss, [mu, logvar]), slopes, strict=True):
            torch.testing.assert_close(mine[row], theirs[row], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(twin.encode(x).variance, posterior.variance, rtol=1e-4, atol=0)
        assert twin.entropy_weight(posterior)[row].item() == pytest.approx(weight)
