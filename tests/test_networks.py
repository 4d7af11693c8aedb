"""The hand-written backward pass against torch's own."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn.functional import leaky_relu

from t3vae import networks
from t3vae.errors import ConfigError
from t3vae.networks.mlp import MLP


def layer_by_layer(network: MLP, x: torch.Tensor) -> torch.Tensor:
    """The same map through torch's own layers."""
    *hidden, last = network.layers
    for layer in hidden:
        h = layer(x)
        x = torch.tanh(h) if network.activation == "tanh" else leaky_relu(h, network.negative_slope)
    return last(x)


@pytest.mark.parametrize("activation", ["leaky_relu", "tanh"])
@pytest.mark.parametrize("widths", [[1, 64, 64, 2], [3, 8, 1], [20, 16, 12, 9], [2, 5]])
def test_equals_torch_layers(activation: str, widths: list[int]) -> None:
    torch.manual_seed(0)
    network = MLP(widths, activation=activation).double()
    x = torch.randn(11, widths[0], dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, widths[-1], dtype=torch.float64)
    results = []
    for forward in (network.forward, partial(layer_by_layer, network)):
        network.zero_grad()
        x.grad = None
        y = forward(x)
        (y * weight).sum().backward()
        results.append([y.detach(), x.grad, *[p.grad.clone() for p in network.parameters()]])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_does_not_change_its_input() -> None:
    network = MLP([2, 4, 2])
    x = torch.randn(5, 2)
    before = x.clone()
    network(x).sum().backward()
    assert torch.equal(x, before)


def test_survives_a_move_to_another_type() -> None:
    """The cached parameter list must follow the module."""
    network = MLP([2, 4, 2])
    network(torch.zeros(1, 2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert float(network(torch.ones(1, 2)).abs().sum()) == 0
    assert network.double()(torch.ones(1, 2, dtype=torch.float64)).dtype == torch.float64


def test_deep_copy_has_parameters_of_its_own() -> None:
    import copy

    network = MLP([2, 4, 2])
    network(torch.zeros(1, 2))
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert float(other(torch.ones(1, 2)).abs().sum()) == 0
    assert float(network(torch.ones(1, 2)).abs().sum()) > 0


def test_unknown_kind() -> None:
    with pytest.raises(ConfigError, match="must be one of"):
        networks.build({"kind": "transformer"}, [2], 1, encoder_width=2)
