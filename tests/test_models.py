"""One contract for every model family, those outside the package included."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from family_examples import examples

import t3vae
from t3vae import models
from t3vae.errors import ConfigError, DataError
from t3vae.models.base import LATENT_DISTRIBUTIONS
from t3vae.settings import families
from t3vae.stages.verify import FUNCTIONS

CLASSES = 3
CASES = [(family, given) for family in families.FAMILIES for given in examples(family)]
SHAPES = [([1], 1), ([3], 2), ([2, 2], 2)]


def build(family: str, given: dict, shape: list[int], m: int, sigma: float = 0.7):
    torch.manual_seed(1)
    network = {"kind": "mlp", "hidden": [16, 16], "negative_slope": 0.01}
    model = models.build(
        {"family": family, **given}, shape, m, sigma=sigma, network=network, classes=CLASSES
    )
    if model.conditional:
        torch.nn.init.normal_(model.centres.weight)
    return model


def labels(model, rows: int) -> tuple[torch.Tensor, ...]:
    """What a conditional model takes beside its data."""
    return (torch.arange(rows) % CLASSES,) if model.conditional else ()


def grid(dim: int, points: int, reach: float = math.pi / 2 - 1e-4) -> tuple:
    """Points [N, dim] over the whole space and the volume that each stands for."""
    angle = torch.linspace(-reach, reach, points, dtype=torch.float64)
    z = torch.cartesian_prod(*[torch.tan(angle)] * dim).view(-1, dim)
    return z, (1 + z**2).prod(1) * (2 * reach / (points - 1)) ** dim


@pytest.mark.parametrize(("family", "given"), CASES)
@pytest.mark.parametrize(("shape", "m"), SHAPES)
class TestContract:
    def test_shapes(self, family, given, shape, m) -> None:
        model = build(family, given, shape, m)
        m, x = model.latent_dim, torch.randn(7, *shape)
        y = labels(model, 7)
        posterior = model.encode(x, *y)
        assert posterior.rsample().shape == (7, m)
        assert posterior.sample((4,)).shape == (4, 7, m)
        assert posterior.log_prob(torch.zeros(7, m)).shape == (7,)
        z = torch.randn(7, m)
        assert model.decode(z, *y).sample().shape == (7, math.prod(shape))
        assert model.decode(z, *y).log_prob(x.flatten(1)).shape == (7,)
        assert model.sample(5).shape == (5, *shape)
        assert model.sample(5, mean=True).shape == (5, *shape)
        assert model.reconstruct(x, *y).shape == x.shape
        for name in LATENT_DISTRIBUTIONS[:2]:
            assert model.latent_distribution(name).sample((4,)).shape == (4, m)
            assert model.latent_distribution(name).log_prob(z).shape == (7,)
        z, drawn = model.sample_pairs(5, "alternative")
        assert z.shape == (5, m) and drawn.shape == (5, *shape)
        members = [id(p) for group in model.parameter_groups() for p in group.parameters]
        assert sorted(members) == sorted(map(id, model.parameters()))

    def test_loss_and_gradients(self, family, given, shape, m) -> None:
        model = build(family, given, shape, m)
        loss = model.loss(torch.randn(64, *shape), *labels(model, 64))
        expected = loss.reconstruction + model.beta * loss.regularizer
        torch.testing.assert_close(loss.total, expected)
        loss.objective.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert bool(torch.isfinite(parameter.grad).all()), name
            assert bool((parameter.grad != 0).any()), name

    def test_gradient_is_that_of_the_loss(self, family, given, shape, m) -> None:
        """Central differences at fixed noise, in float64."""
        if family == "vae_st":
            pytest.skip("its draw depends on nu by rejection: not continuous at fixed noise")
        model = build(family, given, shape, m).double()
        x = torch.randn(16, *shape, dtype=torch.float64)
        y = labels(model, 16)

        def value() -> torch.Tensor:
            torch.manual_seed(3)
            return model.loss(x, *y).total

        value().backward()
        parameter = next(model.encoder.parameters())
        direction = torch.randn_like(parameter)
        slope = float((parameter.grad * direction).sum())
        step = 1e-6
        with torch.no_grad():
            parameter += step * direction
            up = float(value())
            parameter -= 2 * step * direction
            down = float(value())
        assert (up - down) / (2 * step) == pytest.approx(slope, rel=2e-4, abs=1e-6)

    def test_save_and_load(self, family, given, shape, m, tmp_path) -> None:
        model = build(family, given, shape, m)
        x, y = torch.randn(6, *shape), labels(model, 6)
        t3vae.save(model, tmp_path / "model.safetensors")
        again = t3vae.load(tmp_path / "model.safetensors")
        assert type(again) is type(model)
        assert again.hyperparameters() == model.hyperparameters()
        torch.manual_seed(0)
        a = model.loss(x, *y).total
        torch.manual_seed(0)
        b = again.loss(x, *y).total
        assert a.item() == b.item()

    def test_fitted_distribution(self, family, given, shape, m, tmp_path) -> None:
        model = build(family, given, shape, m)
        with pytest.raises(ConfigError, match="fit_latent"):
            model.sample(3, latent="fitted")
        known = {"labels": labels(model, 200)[0]} if model.conditional else {}
        t3vae.fit_latent(model, torch.randn(200, *shape), max_components=2, iterations=5, **known)
        assert model.sample(3, latent="fitted").shape == (3, *shape)
        t3vae.save(model, tmp_path / "model.safetensors")
        again = t3vae.load(tmp_path / "model.safetensors")
        z = torch.randn(5, model.latent_dim)
        torch.testing.assert_close(
            again.latent_distribution("fitted").log_prob(z),
            model.latent_distribution("fitted").log_prob(z),
        )


@pytest.mark.parametrize("family", ["vae", "c_vae"])
def test_one_column_may_be_a_vector_wherever_data_go_in(family) -> None:
    x = torch.randn(60)
    model = build(family, {}, [1], 1)
    y = {"labels": torch.arange(60) % model.classes} if model.conditional else {}
    t3vae.fit(model, x, epochs=1, **y)
    for column in (x, x.numpy()):
        as_vector = t3vae.fit_latent(model, column, max_components=1, seed=3, **y)
        as_matrix = t3vae.fit_latent(model, column[:, None], max_components=1, seed=3, **y)
        assert torch.equal(as_vector.loc, as_matrix.loc)
        assert torch.equal(as_vector.nu, as_matrix.nu)


@pytest.mark.parametrize("shape", [(0, 2), (50,), (50, 3), (50, 2, 1)])
def test_data_of_another_shape_are_refused_before_they_are_encoded(shape) -> None:
    model = build("vae", {}, [2], 1)
    with pytest.raises(DataError, match=r"must be \[N, 2\]|at least 20 points"):
        t3vae.fit_latent(model, torch.randn(*shape))


@pytest.mark.parametrize(("family", "given"), CASES)
@pytest.mark.parametrize("name", LATENT_DISTRIBUTIONS[:2])
def test_latent_distributions_integrate_to_one(family, given, name) -> None:
    given = {**given, "latent_dim_2": 1} if "latent_dim_2" in given else given
    model = build(family, given, [1], 1).double()
    z, volume = grid(model.latent_dim, {1: 100_001, 2: 1501}[model.latent_dim])
    density = model.latent_distribution(name).log_prob(z).exp()
    assert float((density * volume).sum().detach()) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize(("family", "given"), CASES)
def test_decoder_integrates_to_one(family, given) -> None:
    model = build(family, given, [1], 1).double()
    z = torch.full((1, model.latent_dim), 0.8, dtype=torch.float64)
    x, volume = grid(1, 400_001)
    density = model.decode(z, *labels(model, 1)).log_prob(x).exp()
    assert float((density * volume).sum().detach()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("family", "given"), CASES)
def test_importance_weights_agree_with_quadrature(family, given) -> None:
    """log p(x) by importance sampling against a sum over the latent."""
    given = {**given, "latent_dim_2": 1} if "latent_dim_2" in given else given
    model = build(family, given, [1], 1).double()
    x = torch.tensor([[0.3]], dtype=torch.float64)
    torch.manual_seed(0)
    if model.conditional:
        y = torch.tensor([2])
        distribution = model.class_distribution("prior", y)
        weights = model.log_weights(x, 40_000, {"prior": distribution}, y=y)["prior"]
    else:
        y, distribution = None, model.prior()
        weights = model.log_weights(x, 40_000, {"prior": distribution})["prior"]
    estimate = float(torch.logsumexp(weights, 0) - math.log(40_000))
    z, volume = grid(model.latent_dim, {1: 100_001, 2: 1201}[model.latent_dim])
    decoded = model.decode(z) if y is None else model.decode(z, y.expand(len(z)))
    joint = distribution.log_prob(z) + decoded.log_prob(x.expand(len(z), 1)) + volume.log()
    assert estimate == pytest.approx(float(torch.logsumexp(joint.detach(), 0)), abs=0.04)


def test_t3vae_factorises_its_joint_density() -> None:
    model = build("t3vae", {"nu": 4.0}, [3], 2).double()
    z, x = torch.randn(9, 2, dtype=torch.float64), torch.randn(9, 3, dtype=torch.float64)
    product = model.prior().log_prob(z) + model.decode(z).log_prob(x)
    joint = FUNCTIONS["joint_logpdf"](x, z, model.decoder(z), model.nu, model.sigma)
    torch.testing.assert_close(product, joint)


def test_t3vae_encoder_moments() -> None:
    model = build("t3vae", {"nu": 5.0}, [3], 2)
    x = torch.randn(1, 3)
    mu, logvar = model._encoded(x)
    z = model.encode(x.expand(400_000, 3)).sample()
    expected = model.nu / (model.nu + 3 - 2) * logvar.exp().detach()
    np.testing.assert_allclose(z.var(0), expected[0], rtol=0.02)
    np.testing.assert_allclose(z.mean(0), mu[0].detach(), atol=0.01)


def test_t3vae_tends_to_the_gaussian_vae() -> None:
    """At nu -> infinity the objective is the doubled negative ELBO without its constant."""
    t3 = build("t3vae", {"nu": 1e6}, [2], 1)
    gaussian = build("vae", {}, [2], 1)
    gaussian.load_state_dict(t3.state_dict())
    x = torch.randn(200_000, 2)
    a, b = t3.loss(x), gaussian.loss(x)
    assert float(a.regularizer) == pytest.approx(float(b.regularizer), rel=1e-3)
    assert float(a.reconstruction) == pytest.approx(float(b.reconstruction), rel=1e-2)


def test_matched_controls() -> None:
    from t3vae.maths.constants import gamma_constants

    v_star = gamma_constants(10.0, 12, 3, 1.0).v_star
    model = models.build(
        {"family": "vae", "beta": "matched", "prior_scale": "matched", "nu": 10.0},
        [12], 3, sigma=1.0,
    )  # fmt: skip
    assert model.beta == pytest.approx(v_star)
    assert model.prior_scale**2 == pytest.approx(v_star)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("vae", (8771, 8900)),
        ("t3vae", (8771, 8900)),
        ("de_vae", (8771, 8900)),
        ("student_t_vae", (8901, 9160)),
        ("vae_st", (8836, 8965)),
    ],
)
def test_parameter_counts_of_the_reference(family, expected, n) -> None:
    nu = {} if family in ("vae", "student_t_vae") else {"nu": 9.0}
    model = models.build({"family": family, **nu}, [n], 1, sigma=1.0)
    assert sum(p.numel() for p in model.parameters()) == expected[n - 1]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"family": "t3vae", "nu": 2.0}, "greater than 2"),
        ({"family": "t3vae", "nu": float("nan")}, "greater than 2"),
        ({"family": "de_vae", "nu": 1.0}, "greater than 2"),
        ({"family": "vae", "beta": -1.0}, "0 or more"),
        ({"family": "vae", "beta": "matched"}, "needs nu"),
        ({"family": "nothing"}, "must be one of"),
        ({"family": "no_such_module:Model"}, "cannot be imported"),
    ],
)
def test_bad_parameters_are_named(config, message) -> None:
    with pytest.raises(ConfigError, match=message):
        models.build(config, [2], 1, sigma=1.0)


def test_bad_sigma() -> None:
    with pytest.raises(ConfigError, match="sigma"):
        models.build({"family": "vae"}, [2], 1, sigma=-1.0)
