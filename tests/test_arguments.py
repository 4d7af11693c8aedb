"""Arguments of the Python API: checked before anything is computed, numbers of NumPy included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from family_examples import examples

import t3vae
from t3vae import models
from t3vae.errors import ConfigError
from t3vae.settings import arguments
from t3vae.settings.config import LatentFit, Training
from t3vae.settings.families import FAMILIES
from t3vae.training import loop, sampling

X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
MLP = {"kind": "mlp", "hidden": [4]}


class Thing:
    """No number."""

    def __str__(self) -> str:  # a name for the test that is the same in every process
        return "thing"

    __name__ = "thing"


def vae(**given: Any) -> Any:
    torch.manual_seed(0)
    return t3vae.VAE(3, 2, network=MLP, **given)


BAD: dict[str, list[Any]] = {
    "learning_rate": [0, -1.0, float("nan"), float("inf"), "1e-3", None, True, 11.0, Thing()],
    "epsilon": [0.0, "small"],
    "weight_decay": [-1.0, float("nan")],
    "batch_size": [0, -4, 2.5, 64.0, "64", None, np.float64(64), True, Thing()],
    "epochs": [0, -1, 1.5, float("inf")],
    "patience": [0, -1, "long"],
    "clip_norm": [0.0, -1.0, float("nan"), "10"],
    "precision": ["float16", 32, None],
}


def test_every_setting_is_tried() -> None:
    assert set(BAD) == set(loop.Settings.__dataclass_fields__) == set(Training.model_fields)


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, bad in BAD.items() for v in bad], ids=str
)
def test_settings_out_of_range(name: str, value: Any) -> None:
    """The same limits as in params.yaml, before the first step; both ways in."""
    model = vae()
    before = [p.detach().clone() for p in model.parameters()]
    settings = {**asdict(loop.Settings()), name: value}
    for given in ({name: value}, {"settings": loop.Settings(**settings)}):
        with pytest.raises(ConfigError, match=rf"^{name} = ") as error:
            t3vae.fit(model, X, **given)
        assert "0x" not in str(error.value) and len(error.value.problems) == 1
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_all_problems_are_said_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        t3vae.fit(vae(), X, epochs=0, batch_size=1.5, learning_rate=-1.0)
    assert len(error.value.problems) == 3


def test_default_settings_are_allowed_and_plain_ones_unchanged() -> None:
    given = asdict(loop.Settings())
    assert arguments.check(Training, given) == given


def test_numbers_of_numpy_and_torch_are_numbers() -> None:
    plain: dict[str, Any] = {"epochs": 2, "batch_size": 16, "learning_rate": 0.25, "seed": 3}
    other = {
        "epochs": np.int64(2), "batch_size": np.uint8(16), "learning_rate": np.float32(0.25),
        "seed": torch.tensor(3),
    }  # fmt: skip
    assert t3vae.fit(vae(), X, **plain).history == t3vae.fit(vae(), X, **other).history


@pytest.mark.parametrize("seed", [-1, 1.5, 2.0, "0", None, True, 2**32, Thing(), np.array([1, 2])])
def test_seeds_out_of_range(seed: Any) -> None:
    model = vae()
    uses: list[Callable[[], Any]] = [
        lambda: t3vae.fit(model, X, seed=seed),
        lambda: t3vae.fit_latent(model, X, seed=seed),
        lambda: t3vae.seed(seed).__enter__(),
    ]
    if seed is not None:
        uses += [
            lambda: model.sample(3, seed=seed),
            lambda: model.log_likelihood(X, seed=seed, samples=2),
            lambda: sampling.encode(model, X, seed=seed),
        ]
    for use in uses:
        with pytest.raises(ConfigError, match=r"^seed = ") as error:
            use()
        assert "0x" not in str(error.value)


@pytest.mark.parametrize("kind", [np.int64, np.uint32, np.array, torch.tensor])
def test_seeds_of_numpy_and_torch(kind: Callable[[int], Any], tmp_path: Any) -> None:
    """In every seed's place, a saved state included."""
    found = []
    for seed in (5, kind(5)):
        with t3vae.seed(seed):
            model = t3vae.VAE(3, 2, network=MLP)
        history = t3vae.fit(model, X, epochs=1, seed=seed, path=tmp_path / "run").history
        t3vae.fit_latent(model, X, seed=seed, max_components=1)
        found.append((history, model.sample(4, "fitted", seed=seed).tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "option",
    [
        {"max_components": 0}, {"max_components": 2.0}, {"points": 0}, {"held_out": 1.0},
        {"iterations": -1}, {"tolerance": 0.0}, {"tolerance": float("nan")}, {"tolerance": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_options_of_the_latent_fit(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(ConfigError, match=f"^{name} = "):
        t3vae.fit_latent(vae(), X, **option)
    with pytest.raises(ConfigError, match=r"max_component = 2: unknown key\. Did you mean max_c"):
        t3vae.fit_latent(vae(), X, max_component=2)
    assert set(option) <= set(LatentFit.model_fields)


# -- samples -----------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_no_samples_are_an_empty_result(family: str) -> None:
    for shape, network in (([3], MLP), ([1, 8, 8], {"kind": "cnn", "channels": [4]})):
        model = models.build(
            {"family": family, **examples(family)[0]}, shape, 2, sigma=1.0, network=network,
            classes=3,
        ).eval()  # fmt: skip
        x = torch.zeros(60, *shape) + torch.rand(60, 1, *[1] * (len(shape) - 1))
        known = {"labels": torch.arange(60) % 3} if model.conditional else {}
        t3vae.fit_latent(model, x, max_components=1, iterations=2, **known)
        for latent in ("prior", "alternative", "fitted"):
            for n in (0, np.int64(0)):
                z, drawn = model.sample_pairs(n, latent)
                assert z.shape == (0, model.latent_dim) and drawn.shape == (0, *shape)
                assert model.sample(n, latent, mean=True, seed=1).shape == (0, *shape)
        z, images, y = sampling.sample_images(model, 0, "prior", seed=0)
        assert len(z) == len(images) == 0 and (y is None or len(y) == 0)


@pytest.mark.parametrize("n", [-1, 2.0, 2.5, "3", None, True, Thing(), [3]])
def test_numbers_of_samples_out_of_range(n: Any) -> None:
    for family in ("vae", "c_vae"):
        model = models.build({"family": family}, [3], 2, sigma=1.0, network=MLP, classes=3)
        for use in (
            lambda model=model: model.sample(n),
            lambda model=model: model.sample_pairs(n),
            lambda model=model: model.sample_pairs(n, "prior", seed=0),
            lambda model=model: sampling.sample_images(model, n, "prior", seed=0),
        ):
            with pytest.raises(ConfigError, match=r"^n = .*: must be a whole number, at least 0"):
                use()
        with pytest.raises(ConfigError, match=r"^samples = "):
            model.log_likelihood(X, samples=n if n != -1 else 0, y=[0] * 60)


def test_a_seed_fixes_samples() -> None:
    for family in FAMILIES:
        model = models.build(
            {"family": family, **examples(family)[0]}, [3], 2, sigma=1.0, network=MLP, classes=3
        )
        state = torch.get_rng_state()
        a, b, c = (model.sample(5, seed=seed) for seed in (1, 1, 2))
        assert torch.equal(a, b) and not torch.equal(a, c), family
        assert torch.equal(a, model.sample_pairs(5, "prior", seed=1)[1])
        assert torch.equal(torch.get_rng_state(), state), family
        y = torch.zeros(4, dtype=torch.int64)
        named = {"y": y} if model.conditional else {}
        likelihood = [model.log_likelihood(X[:4], samples=3, seed=s, **named) for s in (1, 1, 2)]
        assert torch.equal(likelihood[0], likelihood[1]), family
        assert not torch.equal(likelihood[0], likelihood[2]), family


def test_the_likelihood_is_that_of_its_weights() -> None:
    for family in ("t3vae", "c_t3vae"):
        model = models.build(
            {"family": family, "nu": 5.0}, [3], 2, sigma=1.0, network=MLP, classes=3
        )
        y = torch.arange(60) % 3
        named, given = ({"y": y}, y.numpy()) if model.conditional else ({}, None)
        if model.conditional:
            density = model.class_distribution("alternative", y)
        else:
            density = model.alternative()
        torch.manual_seed(0)
        weights = model.log_weights(X, 500, {"a": density}, **named)["a"]
        expected = torch.logsumexp(weights, 0) - np.log(500)
        found = model.log_likelihood(X.numpy(), "alternative", samples=500, y=given, seed=0)
        torch.testing.assert_close(found, expected, rtol=0, atol=0.5)
        assert float((found - expected).mean().detach()) == pytest.approx(0, abs=0.1)
    with pytest.raises(ConfigError, match="nothing was fitted"):
        model.log_likelihood(X, "fitted", y=y)
    with pytest.raises(ConfigError, match="must be one of prior, alternative, fitted"):
        vae().log_likelihood(X, "posterior")


# -- models ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "given", "message"),
    [
        ("vae", {"latent_dim": 0}, "latent_dim = 0: must be a whole number, at least 1"),
        ("vae", {"latent_dim": 2.7}, "latent_dim = 2.7"),
        ("vae", {"latent_dim": "2"}, "latent_dim = '2'"),
        ("vae", {"data_dim": 0}, "data_dim = 0"),
        ("vae", {"data_dim": 3.0}, "data_dim = 3.0"),
        ("vae", {"data_dim": [1, 8.5, 8]}, "data_dim = 8.5"),
        ("vae", {"data_dim": []}, r"data_dim = \[\]"),
        ("vae", {"data_dim": None}, "data_dim = None"),
        ("vae", {"sigma": "1"}, "sigma = '1': must be a number greater than 0"),
        ("vae", {"sigma": True}, "sigma = True: must be a number greater than 0"),
        ("vae", {"sigma": None}, "sigma = None"),
        ("vae", {"beta": "much"}, "beta = 'much': must be a number above 0, or 'matched'"),
        ("vae", {"beta": float("nan")}, "beta = nan"),
        ("vae", {"prior_scale": Thing()}, "prior_scale = <Thing>"),
        ("vae", {"beta": "matched", "nu": "5"}, "nu = '5'"),
        ("t3vae", {"nu": "5"}, "nu = '5': must be a number greater than 2"),
        ("t3vae", {"nu": 5.0, "beta": "matched"}, "beta = 'matched': must be a finite number"),
        ("tilted_vae", {"tilt": "1"}, "tilt = '1'"),
        ("factor_vae", {"tc_weight": 1.0, "discriminator_width": 2.5}, "discriminator_width = 2.5"),
        ("hvae", {"latent_dim_2": 1.5}, "latent_dim_2 = 1.5"),
        ("hvae", {"latent_dim_2": 0}, "latent_dim_2 = 0"),
        ("c_vae", {"classes": 2.5}, "classes = 2.5"),
        ("c_vae", {"classes": None}, "classes = None"),
        ("vae", {"network": {"kind": "mlp", "hidden": [0]}}, r"network.hidden\[0\] = 0"),
        ("vae", {"network": {"kind": "mlp", "hidden": 64}}, "network.hidden = 64: must be a list"),
        ("vae", {"network": {"kind": "mlp", "hiden": [4]}}, "Did you mean hidden"),
        ("vae", {"network": {"kind": "rnn"}}, "network.kind = 'rnn': must be one of mlp, cnn"),
        ("vae", {"network": "mlp"}, "network = 'mlp': must be a mapping"),
    ],
)
def test_models_are_checked(family: str, given: dict[str, Any], message: str) -> None:
    kind = models.model_class(family)
    parts: dict[str, Any] = {"data_dim": 3, "latent_dim": 2, **given}
    if kind.conditional:
        parts.setdefault("classes", 3)
    with pytest.raises(ConfigError, match=message) as error:
        kind(parts.pop("data_dim"), parts.pop("latent_dim"), **parts)
    assert "0x" not in str(error.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_models_take_numbers_of_numpy_and_can_be_saved(family: str, tmp_path: Any) -> None:
    kinds: dict[type, Callable[[Any], Any]] = {int: np.int64, float: np.float64}
    given = {
        name: kinds.get(type(value), lambda v: v)(value)
        for name, value in examples(family)[-1].items()
    }
    network = {"kind": "mlp", "hidden": (np.int64(4), np.int32(4))}
    extra = {"classes": np.int64(3)} if models.model_class(family).conditional else {}
    model = models.model_class(family)(
        np.int64(3), np.int16(2), sigma=np.float32(0.5), network=network, **given, **extra
    )
    t3vae.save(model, tmp_path / "model.safetensors")
    again = t3vae.load(tmp_path / "model.safetensors")
    assert again.hyperparameters() == model.hyperparameters()
    assert all(type(v) in (int, float, str) for v in model.hyperparameters().values())


def test_a_shape_of_numpy() -> None:
    for shape in (np.array([1, 8, 8]), (1, 8, 8), torch.Size([1, 8, 8])):
        assert t3vae.VAE(shape, 2, network={"kind": "cnn", "channels": [4]}).data_shape == [1, 8, 8]


# -- seeds of a model --------------------------------------------------------------------


def test_the_first_weights_come_from_a_seed() -> None:
    state = torch.get_rng_state()
    built = []
    for seed in (0, 0, 1):
        with t3vae.seed(seed):
            built.append(torch.cat([p.flatten() for p in t3vae.VAE(3, 2).parameters()]))
    assert torch.equal(built[0], built[1]) and not torch.equal(built[0], built[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_the_seed_of_a_script_is_that_of_the_workflow(tmp_path: Any) -> None:
    """``t3vae train`` starts from the same weights."""
    from t3vae.runtime import seeding

    with t3vae.seed(4):
        ours = t3vae.VAE(3, 2)
    with seeding.torch_stream(4, "train/initialisation"):
        theirs = models.build({"family": "vae"}, [3], 2, sigma=1.0)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
