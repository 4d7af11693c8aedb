"""The convolutional networks: sizes, equality with plain convolutions, training on images."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from family_examples import examples
from torch.nn import functional

import t3vae
from t3vae import models, networks
from t3vae.errors import ConfigError
from t3vae.models import inputs
from t3vae.networks import cnn, taps
from t3vae.runtime import files
from t3vae.runtime.scratch import Scratch
from t3vae.settings import families
from t3vae.training import batches, loop, sampling
from t3vae.training.optimizer import FlatAdam

TINY = {"kind": "cnn", "channels": [4, 6, 8], "width": 1.0}


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def build(config: dict, side: int = 8, channels: int = 3, m: int = 2, network=None):
    torch.manual_seed(7)
    return models.build(
        config, [channels, side, side], m, sigma=1.0, network=network or TINY, classes=3
    )


def images(rows: int = 24, side: int = 8, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    shape = (rows, channels, side, side)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


# -- sizes -------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (28, 28), (32, 32), (64, 64), (128, 128), (9, 20)])
def test_networks_fit_the_image(size: tuple[int, int], channels: int) -> None:
    shape = [channels, *size]
    encoder, decoder = networks.build(
        {"kind": "cnn", "width": 1 / 64}, shape, 5, encoder_width=10, decoder_channels=1
    )
    x = torch.rand(3, *shape)
    assert encoder(x).shape == (3, 10)
    y = decoder(torch.randn(3, 5))
    assert y.shape == (3, x[0].numel())
    assert float(y.detach().min()) >= 0 and float(y.detach().max()) <= 1


@pytest.mark.parametrize(
    ("config", "side", "expected"),
    [
        ({"family": "vae"}, 32, 50_702_851),
        ({"family": "vae"}, 64, 51_888_643),
        ({"family": "t3vae", "nu": 10.0}, 64, 51_888_643),
        ({"family": "hvae", "latent_dim_2": 32}, 32, 50_905_699),
        ({"family": "hvae", "latent_dim_2": 32}, 64, 52_681_315),
        ({"family": "t3hvae", "nu": 10.0}, 32, 51_108_547),
        ({"family": "t3hvae", "nu": 10.0}, 64, 53_473_987),
        ({"family": "factor_vae", "tc_weight": 20.0}, 32, 50_702_851 + 16_142_002),
    ],
)
def test_parameter_counts_of_the_reference(config, side, expected) -> None:
    with torch.device("meta"):
        model = models.build(config, [3, side, side], 64, sigma=1.0, network={"kind": "cnn"})
    assert count(model) == expected


def test_encoder_and_decoder_counts() -> None:
    with torch.device("meta"):
        encoder, decoder = cnn.build([3, 64, 64], 64, encoder_width=128)
    assert (count(encoder), count(decoder)) == (26_131_584, 25_757_059)


def test_images_get_a_cnn_by_default() -> None:
    with torch.device("meta"):
        assert t3vae.VAE([3, 32, 32], 64).network["kind"] == "cnn"
    assert t3vae.VAE(4, 2).network["kind"] == "mlp"


def test_only_images_get_a_cnn() -> None:
    with pytest.raises(ConfigError, match="needs images"):
        networks.build({"kind": "cnn"}, [4], 2, encoder_width=4)


def test_location_is_a_image_and_other_outputs_are_free() -> None:
    model = build({"family": "student_t_vae"})
    with torch.no_grad():
        model.decoder.last.bias[3:].fill_(5.0)
    mean, precision, nu = model.decoder(torch.randn(4, 2)).detach().chunk(3, 1)
    assert float(mean.min()) >= 0 and float(mean.max()) <= 1
    assert float(precision.mean()) > 1 and float(nu.mean()) > 1


# -- taps --------------------------------------------------------------------------------

SIDES = [(1, 1), (2, 2), (3, 2), (4, 4), (5, 3), (7, 7), (8, 8), (1, 6)]


def gradients(layer, forward, x: torch.Tensor) -> list[torch.Tensor]:
    layer.zero_grad(set_to_none=True)
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = forward(x)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    (y * weight).sum().backward()
    return [y.detach(), x.grad, layer.weight.grad, layer.bias.grad]


@pytest.fixture
def products(monkeypatch) -> list:
    """Count the calls of the tap-wise function."""
    calls = []
    for function in (taps._Taps, taps._NarrowTaps):
        original = function.apply
        monkeypatch.setattr(
            function, "apply", lambda *a, original=original: calls.append(1) or original(*a)
        )
    return calls


@pytest.mark.parametrize("side", SIDES)
def test_convolution_by_taps_equals_the_plain_one(side: tuple[int, int], products: list) -> None:
    torch.manual_seed(0)
    layer = taps.Conv(5, 7).double()
    x = torch.randn(3, 5, *side, dtype=torch.float64)
    plain = gradients(layer, lambda x: functional.conv2d(x, layer.weight, layer.bias, 2, 1), x)
    assert not products
    ours = gradients(layer, layer, x.contiguous(memory_format=torch.channels_last))
    assert products
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("outputs", [3, 17])
@pytest.mark.parametrize("stride", [1, 2])
def test_transposed_convolution_by_taps_equals_the_plain_one(
    side: tuple[int, int], outputs: int, stride: int, products: list
) -> None:
    torch.manual_seed(0)
    layer = taps.ConvTranspose(5, outputs, stride=stride, size=side).double()
    small = [(s - 1) // stride + 1 for s in side]
    x = torch.randn(3, 5, *small, dtype=torch.float64)
    extra = [(s - 1) % stride for s in side]
    plain = gradients(
        layer,
        lambda x: functional.conv_transpose2d(x, layer.weight, layer.bias, stride, 1, extra),
        x,
    )
    assert plain[0].shape[2:] == side and not products
    ours = gradients(layer, layer, x.contiguous(memory_format=torch.channels_last))
    assert bool(products) == (max(small) <= 4 or (stride == 1 and outputs == 3))
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b)


def test_between_one_pixel_and_four_only_four_taps_are_seen() -> None:
    assert {(t.row, t.column) for t in taps.seen((2, 2), (1, 1), 2)} == {
        (1, 1), (1, 2), (2, 1), (2, 2)
    }  # fmt: skip
    layer = taps.Conv(2, 3)
    layer(torch.randn(2, 2, 2, 2)).sum().backward()
    assert not layer.weight.grad[:, :, 0].any() and not layer.weight.grad[:, :, :, 0].any()
    assert layer.weight.grad[:, :, 1:, 1:].all()


def test_gradients_written_in_place_are_the_same() -> None:
    model = build({"family": "t3vae", "nu": 5.0}, side=32)
    plain = copy.deepcopy(model)
    FlatAdam(model.parameters(), learning_rate=0.01)
    x = inputs.to_float(images(side=32))
    torch.manual_seed(0)
    model.loss_and_gradients(x)
    torch.manual_seed(0)
    plain.loss(x).total.backward()
    for (name, a), (_, b) in zip(model.named_parameters(), plain.named_parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-4, msg=name)
        assert a.stride() == b.stride()


# -- batches -----------------------------------------------------------------------------


def test_flips_are_fair_and_keep_images_whole() -> None:
    x = images(2000, 4, 1)
    torch.manual_seed(0)
    y = batches.random_flip(x)
    flipped = (y == x.flip(-1)).flatten(1).all(1)
    kept = (y == x).flatten(1).all(1)
    assert bool((flipped | kept).all())
    assert float(flipped.float().mean()) == pytest.approx(0.5, abs=0.05)


def test_bytes_stay_bytes() -> None:
    model = build({"family": "vae"})
    rows = batches.Rows.of(model, images())
    assert rows.bytes and rows.x.dtype == torch.uint8
    (x,) = rows.inputs()
    assert x.dtype == torch.float32
    torch.testing.assert_close(x * 255, images().float())


def test_bytes_and_numbers_train_the_same() -> None:
    results = []
    for x in (images(), images().float() / 255):
        model = build({"family": "vae"})
        results.append(loop.fit(model, x, epochs=1, batch_size=8).history)
    assert results[0] == results[1]


def test_flips_change_training_and_come_from_the_seed() -> None:
    histories = []
    for flip in (True, True, False):
        model = build({"family": "vae"})
        histories.append(loop.fit(model, images(), epochs=1, flip=flip).history)
    assert histories[0] == histories[1] != histories[2]


def test_a_batch_of_one_image_can_train() -> None:
    model = build({"family": "vae"})
    loop.fit(model, images(9), images(4), epochs=1, batch_size=8)


def test_reduced_precision_is_close_and_only_of_the_networks() -> None:
    losses, kinds = [], []
    x = inputs.to_float(images(side=32))
    for precision in batches.PRECISIONS:
        model = build({"family": "vae"}, side=32)
        model.decoder.register_forward_hook(lambda m, i, o: kinds.append((i[0].dtype, o.dtype)))
        with batches.network_precision(model, precision):
            torch.manual_seed(0)
            loss = model.loss(x)
            loss.total.backward()
        assert loss.total.dtype == torch.float32
        assert "forward" not in vars(model.decoder)
        losses.append([float(v.detach()) for v in loss[:3]])
        losses[-1] += [float(p.grad.norm()) for p in model.parameters() if p.dim() > 1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[0] != losses[1]
    assert set(kinds) == {(torch.float32, torch.float32)}


def test_reduced_precision_trains() -> None:
    model = build({"family": "t3vae", "nu": 10.0})
    result = loop.fit(model, images(), epochs=3, batch_size=8, precision="bfloat16")
    totals = [row["train_total"] for row in result.history]
    assert totals[-1] < totals[0]


@pytest.mark.parametrize(
    ("precision", "network", "message"),
    [("bfloat16", {"kind": "mlp", "hidden": [4]}, "kind cnn"), ("float8", TINY, "must be one of")],
)
def test_precision_that_cannot_be_is_refused(precision, network, message) -> None:
    with pytest.raises(ConfigError, match=message):
        loop.fit(build({"family": "vae"}, network=network), images(), precision=precision)


# -- training, sampling --------------------------------------------------------------------

FAMILIES = [{"family": family, **examples(family)[-1]} for family in families.FAMILIES]


class StopError(Exception):
    pass


@pytest.mark.parametrize("config", FAMILIES, ids=lambda config: config["family"])
@pytest.mark.parametrize("precision", batches.PRECISIONS)
def test_interrupted_training_ends_with_the_same_bytes(
    config: dict, precision: str, tmp_path: Path, monkeypatch
) -> None:
    """Weights and the running distributions of batch normalisation, from bytes with flips."""
    x = images()
    arguments = {
        "epochs": 3, "batch_size": 8, "seed": 2, "flip": True, "precision": precision,
        "validation": x[:8], "learning_rate": 0.01,
    }  # fmt: skip
    if models.model_class(config["family"]).conditional:
        arguments |= {"labels": torch.arange(24) % 3, "validation_labels": torch.arange(8) % 3}
    whole = build(config)
    expected = loop.fit(whole, x, **arguments)
    steps, original = 0, FlatAdam.step

    def step(self: FlatAdam) -> None:
        nonlocal steps
        original(self)
        steps += 1
        if steps == 5:
            raise StopError

    monkeypatch.setattr(loop, "_CHECK_EVERY", 1)
    monkeypatch.setattr(Scratch, "due", lambda self: self.folder is not None)
    monkeypatch.setattr(FlatAdam, "step", step)
    with pytest.raises(StopError):
        loop.fit(build(config), x, path=tmp_path / "run", **arguments)
    assert (tmp_path / "run/state.safetensors").exists()
    monkeypatch.setattr(FlatAdam, "step", original)
    resumed = build(config)
    with torch.no_grad():
        for parameter in resumed.parameters():
            parameter.add_(1.0)
    result = loop.fit(resumed, x, path=tmp_path / "run", **arguments)
    assert result.history == expected.history
    for (name, a), (_, b) in zip(
        whole.state_dict().items(), resumed.state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), name


def test_best_epoch_keeps_its_running_distributions() -> None:
    """An epoch of nonsense after the best one must not leave its statistics behind."""
    model = build({"family": "vae"})
    first = loop.fit(model, images(), images(8), epochs=1, batch_size=8)
    kept = copy.deepcopy(model.state_dict())
    again = build({"family": "vae"})
    original, epochs = loop._Run._validate, []

    def validate(run) -> list[float]:
        epochs.append(1)
        return original(run) if len(epochs) == 1 else [1e9, 1e9]

    loop._Run._validate = validate
    try:
        loop.fit(again, images(), images(8), epochs=3, batch_size=8)
    finally:
        loop._Run._validate = original
    assert first.best_epoch == 1 and len(epochs) == 3
    for name, value in again.state_dict().items():
        assert torch.equal(value, kept[name]), name


@pytest.mark.parametrize("config", FAMILIES, ids=lambda config: config["family"])
def test_what_is_drawn_is_bytes(config: dict, tmp_path: Path) -> None:
    model = build(config).eval()
    x = images(rows=60)
    given = {"labels": np.arange(60) % 3} if model.conditional else {}
    sampling.fit_latent(model, x.numpy(), max_components=2, iterations=5, **given)
    for latent in ("prior", "alternative", "fitted"):
        z, drawn, labels = sampling.sample_images(model, 7, latent, seed=0)
        assert z.shape == (7, model.latent_dim)
        assert drawn.shape == (7, 3, 8, 8) and drawn.dtype == torch.uint8
        assert (labels is not None) == model.conditional
        mean = model.decoder_mean(z).view(7, 3, 8, 8)
        torch.testing.assert_close(drawn.float() / 255, mean, rtol=0, atol=0.5 / 255 + 1e-6)
    assert sampling.reconstruct(model, x.numpy(), seed=0, **given).dtype == torch.uint8
    t3vae.save(model, tmp_path / "model.safetensors")
    again = t3vae.load(tmp_path / "model.safetensors")
    for (name, a), (_, b) in zip(
        model.state_dict().items(), again.state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), name
    assert torch.equal(sampling.sample_images(again, 7, "fitted", seed=0)[1], drawn)


def test_draws_are_taken_in_blocks(monkeypatch) -> None:
    model = build({"family": "c_vae"}).eval()
    monkeypatch.setattr(sampling, "_PIXELS", 3 * 64)
    sizes = []
    model.decoder.register_forward_hook(lambda m, i, o: sizes.append(len(o)))
    z, drawn, labels = sampling.sample_images(model, 8, "prior", seed=0)
    assert sizes == [3, 3, 2] and len(z) == len(drawn) == len(labels) == 8


def test_network_by_import_path(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "my_networks.py").write_text(
        "from torch import nn\n"
        "def build(data_shape, latent_dim, *, encoder_width, decoder_channels=1,\n"
        "          encoder_activation=None, units=8):\n"
        "    n = 1\n"
        "    for side in data_shape:\n"
        "        n *= side\n"
        "    return (nn.Sequential(nn.Flatten(), nn.Linear(n, encoder_width)),\n"
        "            nn.Linear(latent_dim, decoder_channels * n))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    model = build({"family": "vae"}, network={"kind": "my_networks:build", "units": 4})
    loop.fit(model, images(), epochs=1)
    t3vae.save(model, tmp_path / "model.safetensors")
    assert t3vae.load(tmp_path / "model.safetensors").network["units"] == 4
    for kind in ("my_networks:absent", "no_such_module:build"):
        with pytest.raises(ConfigError, match="cannot be imported"):
            build({"family": "vae"}, network={"kind": kind})


def test_saved_weights_are_in_the_usual_order(tmp_path: Path) -> None:
    model = build({"family": "vae"})
    t3vae.save(model, tmp_path / "model.safetensors")
    tensors = files.read_tensors(tmp_path / "model.safetensors")
    weight = model.encoder.blocks[1][0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    stored = tensors["weights/encoder.blocks.1.0.weight"]
    np.testing.assert_array_equal(stored, weight.detach().numpy())
