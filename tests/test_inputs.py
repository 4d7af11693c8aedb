"""Data, labels and latent points in every form that users have: converted alike, or refused."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from family_examples import examples

import t3vae
from t3vae import models
from t3vae.errors import ConfigError, DataError
from t3vae.maths.distributions import DiagonalGaussian, IndependentT, MultivariateT, TMixture
from t3vae.models import inputs
from t3vae.settings.families import FAMILIES
from t3vae.training import sampling

MLP = {"kind": "mlp", "hidden": [8, 8]}
CNN = {"kind": "cnn", "channels": [4, 4], "width": 1.0}
CLASSES = 3
TABLE = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
IMAGES = np.random.default_rng(1).integers(0, 256, (30, 1, 8, 8), dtype=np.uint8)


def build(family: str, shape: list[int], m: int = 2, network: Any = None, **given: Any) -> Any:
    torch.manual_seed(0)
    network = network or (CNN if len(shape) == 3 else MLP)
    return models.build(
        {"family": family, **(given or examples(family)[0])},
        shape, m, sigma=0.7, network=network, classes=CLASSES,
    )  # fmt: skip


def labels(rows: int) -> np.ndarray:
    return np.arange(rows) % CLASSES


@pytest.fixture(scope="module")
def model() -> Any:
    return build("t3vae", [3], nu=5.0).eval()


def doors(model: Any, x: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every public way in for data, as a function that returns a number."""
    short: Any = {"epochs": 1, "batch_size": 16, "seed": 0}
    last = "validation_total"
    train = {1: TABLE[:, :1], 3: TABLE, 64: IMAGES}[model.data_dim]
    yield "fit", lambda: t3vae.fit(copy.deepcopy(model), x, **short).history[0][last]
    yield "validation", lambda: t3vae.fit(copy.deepcopy(model), train, x, **short).history[0][last]
    yield (
        "fit_latent",
        lambda: t3vae.fit_latent(copy.deepcopy(model), x, max_components=1).loc.sum(),
    )
    yield "encode", lambda: model.encode(x).mean.sum()
    yield "loss", lambda: model.loss(x).total
    yield "loss_and_gradients", lambda: copy.deepcopy(model).loss_and_gradients(x).total
    yield "reconstruct", lambda: model.reconstruct(x).sum()
    yield "log_likelihood", lambda: model.log_likelihood(x, samples=3, seed=0).sum()
    yield "log_weights", lambda: model.log_weights(x, 2, {"p": model.prior()})["p"].sum()
    yield "sampling.encode", lambda: sampling.encode(model, x, seed=0).sum()
    yield "sampling.reconstruct", lambda: sampling.reconstruct(model, x, seed=0).sum()


def values(model: Any, x: Any) -> dict[str, float]:
    found = {}
    for name, door in doors(model, x):
        torch.manual_seed(5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found[name] = float(torch.as_tensor(door()).detach())
    return found


@pytest.fixture(scope="module")
def expected(model: Any) -> dict[str, float]:
    return values(model, torch.from_numpy(TABLE.copy()))


def read_only() -> np.ndarray:
    array = TABLE.copy()
    array.flags.writeable = False
    return array


def unaligned() -> np.ndarray:
    return np.frombuffer(b"\0" + TABLE.tobytes(), np.uint8)[1:].view(np.float32).reshape(-1, 3)


SAME: dict[str, Callable[[], Any]] = {
    "array": TABLE.copy,
    "float64": lambda: TABLE.astype(np.float64),
    "long double": lambda: TABLE.astype(np.longdouble),
    "big-endian": lambda: TABLE.astype(">f4"),
    "big-endian float64": lambda: TABLE.astype(">f8"),
    "Fortran order": lambda: np.asfortranarray(TABLE),
    "negative strides": lambda: TABLE[::-1].copy()[::-1],
    "every second row": lambda: np.repeat(TABLE, 2, 0)[::2],
    "read-only": read_only,
    "not aligned": unaligned,
    "nested lists": TABLE.tolist,
    "list of arrays": lambda: list(TABLE),
    "list of tensors": lambda: list(torch.from_numpy(TABLE.copy())),
    "tensor in float64": lambda: torch.from_numpy(TABLE.astype(np.float64)),
    "transposed tensor": lambda: torch.from_numpy(TABLE.T.copy()).t(),
    "tensor with gradient": lambda: torch.from_numpy(TABLE.copy()).requires_grad_(),
    "table": lambda: pd.DataFrame(TABLE, columns=list("abc")),
    "table with another index": lambda: pd.DataFrame(TABLE, index=np.arange(40)[::-1]),
    "table that may lack values": lambda: pd.DataFrame(TABLE).astype("Float32"),
    "masked array without a mask": lambda: np.ma.masked_array(TABLE),
}


@pytest.mark.parametrize("form", SAME)
def test_the_same_numbers_in_another_form(form: str, model: Any, expected: Any) -> None:
    assert values(model, SAME[form]()) == expected


def test_a_memory_map(tmp_path: Path, model: Any, expected: Any) -> None:
    np.save(tmp_path / "x.npy", TABLE)
    for mode in ("r", "r+"):
        assert values(model, np.load(tmp_path / "x.npy", mmap_mode=mode)) == expected


@pytest.mark.parametrize(
    "kind", [np.int8, np.uint8, np.int16, np.uint16, np.int64, np.uint64, bool, np.float16]
)
def test_tables_of_other_types_are_taken_as_they_are(kind: Any, model: Any) -> None:
    """Bytes too: only images are divided by 255."""
    x = np.abs(TABLE * 10).astype(kind)
    assert values(model, x) == values(model, x.astype(np.float32))
    assert values(model, torch.from_numpy(x)) == values(model, x.astype(np.float32))


def test_columns_of_several_types(model: Any) -> None:
    table = pd.DataFrame({"a": TABLE[:, 0], "b": np.arange(40), "c": np.arange(40) % 2 == 1})
    array = np.stack([TABLE[:, 0], np.arange(40), np.arange(40) % 2], 1)
    assert values(model, table) == values(model, array)


def test_one_number_a_row() -> None:
    model = build("t3vae", [1], nu=5.0).eval()
    column = TABLE[:, 0]
    wide = values(model, column[:, None])
    for x in (column, pd.Series(column, index=np.arange(40)[::-1]), column.tolist()):
        assert values(model, x) == wide


class Thing:
    """Neither an array nor a list."""


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "another width": (lambda: TABLE[:, :2], r"of shape \[40, 2\]: must be \[N, 3\]"),
    "one more axis": (lambda: TABLE[None], r"must be \[N, 3\]"),
    "one data point": (lambda: TABLE[0], r"For one data point, give \w+\[None\]"),
    "no axis": (lambda: np.float32(1), "must be"),
    "nothing": (list, "must be"),
    "objects": (lambda: TABLE.astype(object), "holds objects: give numbers"),
    "text": (lambda: TABLE.astype(str), "holds text"),
    "complex numbers": (lambda: TABLE.astype(np.complex64), "complex numbers"),
    "complex tensor": (lambda: torch.zeros(4, 3, dtype=torch.complex64), "complex numbers"),
    "dates": (lambda: np.full((4, 3), np.datetime64("2020-01-01")), "holds dates"),
    "records": (lambda: np.zeros(4, [("a", float), ("b", int)]), "holds records"),
    "rows of other lengths": (lambda: [[1.0, 2.0, 3.0], [1.0]], "Rows must be equally long"),
    "masked values": (lambda: np.ma.masked_array(TABLE, TABLE > 1), r"has \d+ masked values"),
    "sparse matrix": (lambda: scipy.sparse.csr_matrix(TABLE), r"\.toarray\(\)"),
    "sparse array": (lambda: scipy.sparse.coo_array(TABLE), r"\.toarray\(\)"),
    "sparse tensor": (lambda: torch.from_numpy(TABLE.copy()).to_sparse(), r"\.to_dense\(\)"),
    "no memory": (lambda: torch.zeros(4, 3, device="meta"), "without numbers"),
    "not a number": (lambda: np.where(TABLE > 2, np.nan, TABLE), r"rows \[.*\] hold values that"),
    "infinity": (lambda: np.where(TABLE > 2, np.inf, TABLE), "not finite in float32"),
    "beyond float32": (lambda: TABLE.astype(float) * 1e300, "not finite in float32"),
    "lacking values": (lambda: pd.DataFrame(TABLE).astype("Float32").mask(TABLE > 2), "not finite"),
    "columns of text": (
        lambda: pd.DataFrame({"a": TABLE[:, 0], "b": "x", "c": TABLE[:, 0]}),
        r"columns are not numeric: b \(",
    ),
    "mapping": (lambda: {"a": [1.0]}, r"<dict>: must be an array"),
    "file name": (lambda: "data.csv", r"'data.csv': must be an array"),
    "generator": (lambda: (row for row in TABLE), r"<generator>: must be an array"),
    "something else": (Thing, r"<Thing>: must be an array"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_refused_everywhere(form: str, model: Any) -> None:
    make, message = REFUSED[form]
    for name, _ in doors(model, None):
        with pytest.raises(DataError, match=message) as error:
            dict(doors(model, make()))[name]()
        assert " at 0x" not in str(error.value), name


def test_no_rows_give_no_results_where_that_has_a_meaning(model: Any) -> None:
    none = TABLE[:0]
    assert model.encode(none).sample().shape == (0, 2)
    assert model.reconstruct(none).shape == (0, 3)
    assert model.log_likelihood(none).shape == (0,)
    assert sampling.encode(model, none, seed=0).shape == (0, 2)
    for door in ("fit", "validation", "loss", "loss_and_gradients"):
        with pytest.raises(DataError, match="N at least 1"):
            dict(doors(model, none))[door]()


# -- images ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["cnn", "mlp"])
def of_images(request: Any) -> Any:
    network = {"cnn": CNN, "mlp": MLP}[request.param]
    return build("t3vae", [1, 8, 8], network=network, nu=5.0).eval()


def close(a: dict[str, float], b: dict[str, float]) -> bool:
    return all(a[name] == pytest.approx(b[name], rel=1e-4) for name in a if "samp" not in name)


@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.int32, np.int64, ">i4", np.uint64])
def test_whole_numbers_are_bytes_whatever_their_type(kind: Any, of_images: Any) -> None:
    found, bytes_ = values(of_images, IMAGES.astype(kind)), values(of_images, IMAGES)
    assert close(found, bytes_)


def test_shares_are_taken_as_they_are(of_images: Any) -> None:
    assert close(values(of_images, IMAGES / 255), values(of_images, IMAGES))
    mask = IMAGES > 127
    assert values(of_images, mask) == values(of_images, mask.astype(np.float32))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES.astype(np.float32), r"from 0 to 255: must lie in \[0, 1\]. Divide them by 255"),
        (IMAGES.astype(np.float64), "Divide them by 255"),
        (IMAGES / 127.5 - 1, r"from -1 to 1: must lie in \[0, 1\]"),
        (IMAGES.astype(np.int64) - 128, r"from -128 to 127: must be 0\.\.255"),
        (IMAGES.astype(np.uint16) * 257, r"from 0 to 65535: must be 0\.\.255"),
        ((IMAGES > 127).astype(np.uint8), r"\(uint8\) from 0 to 1, which could be bytes or"),
        ((IMAGES > 127).astype(np.int64), r"\(int64\) from 0 to 1, which could be bytes or"),
        (np.moveaxis(IMAGES, 1, -1), "Channels come first"),
        (IMAGES.reshape(30, -1), r"must be \[N, 1, 8, 8\]"),
        (np.where(IMAGES > 250, np.nan, IMAGES / 255), "not finite"),
    ],
)
def test_images_on_another_scale_are_refused_everywhere(
    images: np.ndarray, message: str, of_images: Any
) -> None:
    for name, door in doors(of_images, images):
        with pytest.raises(DataError, match=message):
            door()
        assert name


def test_dark_images_in_parts_of_the_data(of_images: Any) -> None:
    """The rule looks at all rows: a block whose largest byte is 1 is no mask."""
    x = np.concatenate([np.minimum(IMAGES, 1), IMAGES])
    whole = sampling.encode(of_images, x, seed=0)
    assert whole.shape == (60, 2)


def test_a_custom_decoder_has_its_own_scale() -> None:
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
    model = t3vae.VAE([1, 8, 8], 2, encoder=encoder, decoder=torch.nn.Linear(2, 64))
    assert math.isfinite(values(model, IMAGES / 127.5 - 1)["loss"])
    with pytest.raises(DataError, match="all whole, from 0 to 255"):
        model.loss(IMAGES.astype(np.float32))


# -- number formats ----------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [[3], [1, 8, 8]], ids=["mlp", "cnn"])
@pytest.mark.parametrize("how", ["default", "double"])
def test_models_in_float64(family: str, shape: list[int], how: str, tmp_path: Path) -> None:
    x = TABLE if shape == [3] else IMAGES
    try:
        torch.set_default_dtype(torch.float64 if how == "default" else torch.float32)
        model = build(family, shape)
        model = model if how == "default" else model.double()
        known = {"labels": labels(len(x))} if model.conditional else {}
        y = (labels(4),) if model.conditional else ()
        t3vae.fit(model, x, epochs=1, batch_size=16, **known)
        t3vae.fit_latent(model, x, max_components=1, iterations=3, **known)
        t3vae.save(model, tmp_path / "model.safetensors")
    finally:
        torch.set_default_dtype(torch.float32)
    again = t3vae.load(tmp_path / "model.safetensors")
    for each in (model, again):
        assert {p.dtype for p in each.parameters()} == {torch.float64}
        found = [each.sample(3, latent, seed=0) for latent in ("prior", "alternative", "fitted")]
        found += [each.reconstruct(x[:4], *y), each.encode(x[:4], *y).sample()]
        named = {"y": y[0]} if y else {}
        found.append(each.log_likelihood(x[:4], samples=3, **named))
        assert {value.dtype for value in found} == {torch.float64}


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_models_in_half_precision_are_refused(kind: torch.dtype) -> None:
    model = build("t3vae", [3], nu=5.0).to(kind)
    for name, door in doors(model, TABLE):
        with pytest.raises(ConfigError, match=r"computes in float32 or float64. Call model.float"):
            door()
        assert name


@pytest.mark.parametrize("thing", [None, 5, torch.nn.Linear(3, 3), t3vae.VAE])
def test_what_is_no_model(thing: Any) -> None:
    for use in (t3vae.fit, t3vae.fit_latent, t3vae.save):
        with pytest.raises(ConfigError, match=r"^model = .*must be a model"):
            use(thing, TABLE)


def test_a_model_of_two_types_is_refused() -> None:
    model = build("vae", [3])
    model.decoder.double()
    with pytest.raises(ConfigError, match=r"decoder.* is float64 on cpu, other parameters are"):
        t3vae.fit(model, TABLE)


def test_a_frozen_model_is_refused() -> None:
    model = build("vae", [3]).requires_grad_(False)
    with pytest.raises(ConfigError, match="all are frozen"):
        t3vae.fit(model, TABLE)


# -- shapes that would broadcast ---------------------------------------------------------


class Fixed(torch.nn.Module):
    """A network whose output has a width of its own."""

    def __init__(self, inputs: int, outputs: int, width: int | None = None) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(inputs, outputs)
        self.width = outputs if width is None else width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1))


def networks_of(family: str, shape: list[int]) -> tuple[int, int, int]:
    """Widths of a fitting encoder and decoder, and of what the decoder takes."""
    model = build(family, shape, network=MLP)
    width = 8 if model.encoder_width is None else model.encoder_width
    return width, model.decoder_channels * model.data_dim, model.decoder_width


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [[3], [1, 8, 8]], ids=["table", "images"])
@pytest.mark.parametrize(
    ("wrong", "by"),
    [("encoder", -1), ("encoder", 1), ("encoder", "one"), ("decoder", "one"), ("decoder", 1)],
)
def test_custom_networks_of_another_width(
    family: str, shape: list[int], wrong: str, by: Any
) -> None:
    """Refused before a step, however the model is used."""
    encoded, decoded, taken = networks_of(family, shape)
    n = math.prod(shape)
    right = {"encoder": encoded, "decoder": decoded}
    widths = dict(right)
    widths[wrong] = 1 if by == "one" else right[wrong] + by
    if widths == right:
        pytest.skip("this is its width")
    given = {
        "encoder": Fixed(n, widths["encoder"], encoded),
        "decoder": Fixed(taken, widths["decoder"]),
    }
    model = models.build(
        {"family": family, **examples(family)[0]}, shape, 2, sigma=1.0, classes=CLASSES, **given
    )
    x, y = (TABLE, labels(40)) if shape == [3] else (IMAGES, labels(30))
    known = {"labels": y} if model.conditional else {}
    before = copy.deepcopy(model.state_dict())
    for use in (
        lambda: t3vae.fit(model, x, epochs=1, **known),
        lambda: model.loss(x, *((y,) if model.conditional else ())),
        lambda: model.sample(3),
        lambda: sampling.encode(model, x, seed=0, **known),
    ):
        with pytest.raises(ConfigError, match=rf"{wrong} Fixed: gives \[2, \d+\] .*: must give"):
            use()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("family", FAMILIES)
def test_fitting_custom_networks_are_taken(family: str) -> None:
    encoded, decoded, taken = networks_of(family, [3])
    model = models.build(
        {"family": family, **examples(family)[0]}, [3], 2, sigma=1.0, classes=CLASSES,
        encoder=Fixed(3, encoded), decoder=Fixed(taken, decoded),
    )  # fmt: skip
    known = {"labels": labels(40)} if model.conditional else {}
    assert t3vae.fit(model, TABLE, epochs=1, **known).epochs == 1


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (torch.nn.Linear(5, 4), r"encoder Linear: fails on points of shape \[2, 3\]"),
        (torch.nn.RNN(3, 4), "gives tuple"),
        (torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Unflatten(1, (2, 2))), r"\[2, 2, 2\]"),
    ],
)
def test_other_custom_networks_that_do_not_fit(encoder: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        t3vae.fit(t3vae.VAE(3, 2, encoder=encoder), TABLE)


def test_a_function_is_no_network() -> None:
    with pytest.raises(ConfigError, match=r"<function>: must be a torch.nn.Module"):
        t3vae.VAE(3, 2, encoder=lambda x: x)


def test_a_network_that_was_replaced_is_tried_again() -> None:
    model = t3vae.VAE(3, 2)
    model.loss(TABLE)
    model.decoder = torch.nn.Linear(2, 1)
    with pytest.raises(ConfigError, match="decoder Linear: gives"):
        model.loss(TABLE)
    model.decoder = torch.nn.Linear(2, 3)
    copy.deepcopy(model).loss(TABLE)
    model.loss(TABLE)


def test_trying_a_network_leaves_no_trace() -> None:
    """Neither in its statistics and modes nor in the numbers that are drawn."""
    encoder = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5)
    )
    model = t3vae.VAE(3, 2, encoder=encoder, decoder=torch.nn.Linear(2, 3))
    encoder[2].eval()
    before, state = copy.deepcopy(encoder.state_dict()), torch.get_rng_state()
    model.check_networks()
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in encoder] == [True, True, False]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (labels(39), r"labels of shape \[39\]: must be \[40\]"),
        (labels(40)[:, None], r"labels of shape \[40, 1\]"),
        (np.eye(3)[labels(40)], r"labels of shape \[40, 3\]"),
        (labels(40) + 0.5, "must be whole numbers"),
        (labels(40) + 1, r"labels 1\.\.3: must lie in 0\.\.2"),
        (labels(40) - 1, r"labels -1\.\.1"),
        (labels(40).astype(str), "labels of type .* holds text"),
        (2, r"labels of shape \[\]"),
        (None, "conditional: give the labels"),
    ],
)
def test_labels_that_do_not_fit(given: Any, message: str) -> None:
    model = build("c_t3vae", [3], nu=5.0)
    for use in (
        lambda: t3vae.fit(model, TABLE, labels=given, epochs=1),
        lambda: t3vae.fit_latent(model, TABLE, labels=given),
        lambda: sampling.encode(model, TABLE, labels=given, seed=0),
    ):
        with pytest.raises(DataError, match=message):
            use()
    for use in (
        lambda: model.encode(TABLE, given),
        lambda: model.loss(TABLE, given),
        lambda: model.reconstruct(TABLE, given),
        lambda: model.decode(np.zeros((40, 2)), given).log_prob(torch.zeros(40, 3)),
        lambda: model.log_likelihood(TABLE, y=given, samples=2),
    ):
        with pytest.raises((DataError, ConfigError)):
            use()


@pytest.mark.parametrize(
    "y",
    [
        labels(40).tolist(),
        pd.Series(labels(40), index=np.arange(40)[::-1]),
        torch.from_numpy(labels(40)).to(torch.int32),
        *(labels(40).astype(kind) for kind in (np.float64, np.uint8, ">i8")),
    ],
)
def test_labels_in_other_forms(y: Any) -> None:
    losses = []
    for given in (y, torch.from_numpy(labels(40))):
        model = build("c_vae", [3])
        result = t3vae.fit(model, TABLE, labels=given, epochs=1)
        torch.manual_seed(0)
        losses.append((result.history[0]["validation_total"], float(model.loss(TABLE, given)[0])))
    assert losses[0] == losses[1]


def test_labels_of_validation_data_are_named() -> None:
    model = build("c_vae", [3])
    with pytest.raises(DataError, match="give the validation_labels of validation"):
        t3vae.fit(model, TABLE, TABLE, labels=labels(40))


def test_labels_of_samples() -> None:
    model = build("c_vae", [3])
    assert model.sample(4, y=2).shape == (4, 3)
    assert model.sample(4, y=[0, 1, 2, 0]).shape == (4, 3)
    for y, message in (
        ([1], "must be one label, or"), ([0, 1, 2], "must be one label"), (3, "must lie in 0..2"),
        (0.5, "whole numbers"), ("a", "must be an array"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            model.sample(4, y=y)


@pytest.mark.parametrize("family", FAMILIES)
def test_latent_points_of_another_shape(family: str) -> None:
    model = build(family, [3])
    m, y = model.latent_dim, ([0, 1],) if build(family, [3]).conditional else ()
    right = model.decode(np.zeros((2, m)), *y)
    assert right.sample().shape == (2, 3)
    for z in (np.zeros((2, 1)), np.zeros(m), np.zeros((2, m + 1)), np.zeros((1, 2, m))):
        with pytest.raises(DataError, match=rf"z of shape .*: must be \[B, {m}\]"):
            model.decode(z, *y)
        with pytest.raises(DataError, match="z of shape"):
            model.decoder_mean(z)


@pytest.mark.parametrize(
    "distribution",
    [
        DiagonalGaussian(torch.zeros(3), 1.0),
        MultivariateT(torch.zeros(3), 1.0, 5.0),
        IndependentT(torch.zeros(3), 1.0, 5.0),
        TMixture(torch.ones(2), torch.zeros(2, 3), torch.ones(2, 3), torch.full((2,), 5.0)),
    ],
    ids=lambda distribution: type(distribution).__name__,
)
def test_densities_do_not_broadcast_the_event(distribution: Any) -> None:
    assert distribution.log_prob(torch.zeros(5, 3)).shape == (5,)
    for shape in ((5, 1), (3, 2), (), (1,)):
        with pytest.raises(ConfigError, match=r"must be \[\.\.\., 3\]"):
            distribution.log_prob(torch.zeros(shape))


@pytest.mark.parametrize("family", FAMILIES)
def test_latent_densities_do_not_broadcast_the_event(family: str) -> None:
    model = build(family, [3])
    for name in ("prior", "alternative"):
        with pytest.raises(ConfigError, match="a point of the distribution"):
            model.latent_distribution(name).log_prob(torch.zeros(5, 1))


def test_a_fitted_distribution_of_another_dimension() -> None:
    one = torch.ones(1)
    with pytest.raises(ConfigError, match=r"dimension \[3\]: must be \[2\]"):
        build("vae", [3]).set_fitted(TMixture(one, torch.zeros(1, 3), torch.ones(1, 3), 5 * one))


def test_flips_are_for_images() -> None:
    with pytest.raises(ConfigError, match="flip = True: must be False; True is for images"):
        t3vae.fit(build("vae", [3]), TABLE, flip=True)


def test_checked_data_are_taken_as_they_are() -> None:
    model = t3vae.VAE(3, 2)
    with inputs.checked():
        loss = model.loss(torch.full((2, 3), math.nan))
    assert not math.isfinite(float(loss.total.detach()))
    with pytest.raises(DataError, match="not finite"):
        model.loss(torch.full((2, 3), math.nan))


def test_gradients_reach_the_data() -> None:
    x = torch.zeros(4, 3, requires_grad=True)
    t3vae.VAE(3, 2).loss(x).total.backward()
    assert x.grad is not None and bool(x.grad.any())
