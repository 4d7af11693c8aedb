"""Written-out derivatives against autograd on the plain formulas."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from t3vae import models
from t3vae.maths import objectives
from t3vae.maths.constants import gamma_constants
from t3vae.maths.divergence import gamma_regularizer, power_regularizer_slopes
from t3vae.models.base import Loss
from t3vae.models.t3vae import T3VAE
from t3vae.models.vae import VAE

CASES = [
    ("vae", {"beta": 0.3, "prior_scale": 1.7}),
    ("de_vae", {"nu": 5.0, "beta": 2.0}),
    ("t3vae", {"nu": 5.0, "beta": 0.5}),
    ("student_t_vae", {}),
    ("vae_st", {"nu": 5.0}),
]
FAST = {"vae", "de_vae", "t3vae"}


def leaves(*shapes: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(2)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("name", ["gamma", "gaussian", "gaussian scaled", "de"])
def test_slopes_of_regularizers(name: str, m: int) -> None:
    first, logvar = leaves((5, m), (5, m))
    c = gamma_constants(5.0, 3, m, 0.7)
    with_slopes, plain = {
        "gamma": (
            lambda: power_regularizer_slopes(first, logvar, c.v_star, c.shift, c.order),
            lambda: gamma_regularizer(first, logvar, c),
        ),
        "gaussian": (
            lambda: objectives.gaussian_kl_2x_slopes(first, logvar),
            lambda: objectives.gaussian_kl_2x(first, logvar),
        ),
        "gaussian scaled": (
            lambda: objectives.gaussian_kl_2x_slopes(first, logvar, 1.7),
            lambda: objectives.gaussian_kl_2x(first, logvar, 1.7),
        ),
        "de": (
            lambda: objectives.de_regularizer_2x_slopes(first, logvar, 5.0),
            lambda: objectives.de_regularizer_2x(first, logvar, 5.0),
        ),
    }[name]
    with torch.no_grad():
        value, *slopes = with_slopes()
    expected = plain()
    torch.testing.assert_close(value, expected.detach())
    for ours, exact in zip(
        slopes, torch.autograd.grad(expected.sum(), (first, logvar)), strict=True
    ):
        torch.testing.assert_close(ours, exact)


def small(family: str, given: dict, shape: list[int], m: int):
    torch.manual_seed(1)
    network = {"kind": "mlp", "hidden": [16, 16], "negative_slope": 0.01}
    built = models.build({"family": family, **given}, shape, m, sigma=0.7, network=network)
    return built.double()


def both(model, x: Tensor) -> list[tuple[Loss, list[Tensor | None]]]:
    """Loss and gradients by the step and by autograd, at equal noise."""
    results = []
    for step in (model.loss_and_gradients, None):
        other = copy.deepcopy(model)
        torch.manual_seed(3)
        if step is None:
            loss = other.loss(x)
            loss.total.backward()
        else:
            loss = other.loss_and_gradients(x)
        results.append((Loss(*(v.detach() for v in loss)), [p.grad for p in other.parameters()]))
    return results


@pytest.mark.parametrize(("family", "given"), CASES)
@pytest.mark.parametrize(("shape", "m"), [([1], 1), ([3], 2), ([2, 2], 1), ([10], 5)])
def test_step_equals_autograd(family: str, given: dict, shape: list[int], m: int) -> None:
    model = small(family, given, shape, m)
    assert bool(vars(type(model)).get("writes_slopes")) == (family in FAST)
    (loss, gradients), (expected, exact) = both(model, torch.randn(32, *shape).double())
    torch.testing.assert_close(loss, expected)
    for a, b in zip(gradients, exact, strict=True):
        torch.testing.assert_close(a, b)


def test_step_adds_to_gradients() -> None:
    model = small("t3vae", {"nu": 5.0}, [2], 1)
    x = torch.randn(8, 2).double()
    sums = []
    for repeats in (1, 2):
        model.zero_grad()
        for _ in range(repeats):
            torch.manual_seed(0)
            model.loss_and_gradients(x)
        sums.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(sums[1], 2 * sums[0])


def test_frozen_parameters_get_no_gradient() -> None:
    model = small("vae", {}, [2], 1)
    model.encoder.layers[0].weight.requires_grad_(False)
    (_, gradients), (_, exact) = both(model, torch.randn(8, 2).double())
    assert gradients[0] is None
    for a, b in zip(gradients[1:], exact[1:], strict=True):
        torch.testing.assert_close(a, b)


class OtherLoss(T3VAE):
    def loss(self, x):
        reconstruction, regularizer = super().loss(x)[1:]
        return Loss(reconstruction + 3 * regularizer, reconstruction, regularizer)


class OtherEncoder(VAE):
    def _encoded(self, x):
        mu, logvar = super()._encoded(x)
        return 0.5 * mu, logvar


class OtherSlopes(VAE):
    def _regularizer_with_slopes(self, mu, logvar, z):
        raise AssertionError("the loss knows nothing of these slopes")


@pytest.mark.parametrize(
    "family",
    [lambda: OtherLoss(2, 1, nu=5.0), lambda: OtherEncoder(2, 1), lambda: OtherSlopes(2, 1)],
)
def test_a_subclass_is_trained_through_its_own_loss(family) -> None:
    torch.manual_seed(0)
    (loss, gradients), (expected, exact) = both(family(), torch.randn(8, 2))
    torch.testing.assert_close(loss, expected)
    for a, b in zip(gradients, exact, strict=True):
        torch.testing.assert_close(a, b)


def test_the_draw_of_the_loss_is_that_of_the_posterior() -> None:
    model = small("t3vae", {"nu": 5.0}, [3], 2)
    x = torch.randn(8, 3).double()
    torch.manual_seed(4)
    expected = model.encode(x).rsample()
    torch.manual_seed(4)
    mu, logvar = model._encoded(x)
    ours = mu + torch.exp(0.5 * logvar) * model._noise(x)
    torch.testing.assert_close(ours, expected)
