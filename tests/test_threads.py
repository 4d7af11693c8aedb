"""Trainings in several threads give what they give one after another."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from family_examples import examples

import t3vae
from t3vae import models
from t3vae.networks import accumulate
from t3vae.runtime import files, seeding
from t3vae.settings.families import FAMILIES

TABLE = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randint(0, 256, (48, 1, 8, 8), generator=torch.Generator().manual_seed(1))
NETWORKS = {"mlp": {"kind": "mlp", "hidden": [8]}, "cnn": {"kind": "cnn", "channels": [16, 16]}}


def build(family: str, kind: str) -> Any:
    torch.manual_seed(0)
    shape = [2] if kind == "mlp" else [1, 8, 8]
    return models.build(
        {"family": family, **examples(family)[0]}, shape, 2, sigma=0.5,
        network=NETWORKS[kind], classes=3,
    )  # fmt: skip


def with_dropout() -> Any:
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(
        torch.nn.Linear(2, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 4)
    )
    return t3vae.T3VAE(2, 2, nu=5.0, encoder=encoder, decoder=torch.nn.Linear(2, 2))


def work(model: Any) -> list[Any]:
    """Train, fit and sample; everything that was drawn shows in the result."""
    x = TABLE if model.data_shape == [2] else IMAGES
    known = {"labels": torch.arange(len(x)) % 3} if model.conditional else {}
    flip = model.data_shape != [2]
    result = t3vae.fit(model, x, epochs=2, batch_size=16, seed=3, flip=flip, **known)
    t3vae.fit_latent(model, x, seed=1, max_components=1, iterations=3, **known)
    drawn = [model.sample(20, latent, seed=5) for latent in ("prior", "alternative", "fitted")]
    return [result.history, *(t.tolist() for t in drawn), *(p.tolist() for p in model.parameters())]


def at_once(jobs: list[Callable[[], Any]]) -> list[Any]:
    found: list[Any] = [None] * len(jobs)
    start = threading.Barrier(len(jobs))

    def run(index: int) -> None:
        start.wait()
        found[index] = jobs[index]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("kind", NETWORKS)
def test_all_families_at_once(kind: str) -> None:
    """Beside a thread that draws from the global generators and seeds them all the time."""
    built = [build(family, kind) for family in FAMILIES]
    expected = [work(copy.deepcopy(model)) for model in built]
    done = threading.Event()

    def disturb() -> None:
        while not done.is_set():
            torch.manual_seed(0)
            torch.randn(50)

    other = threading.Thread(target=disturb)
    other.start()
    try:
        found = at_once([lambda model=model: work(model) for model in built])
    finally:
        done.set()
        other.join()
    for family, a, b in zip(FAMILIES, expected, found, strict=True):
        assert a == b, family


def test_models_that_draw_from_the_global_generators_take_turns() -> None:
    """Dropout can draw from nowhere else."""
    assert with_dropout().draws_elsewhere and not build("t3vae", "cnn").draws_elsewhere
    expected = work(with_dropout())
    built = [with_dropout() for _ in range(3)]
    state = torch.get_rng_state()
    found = at_once([lambda model=model: work(model) for model in built])
    assert found == [expected] * 3
    assert torch.equal(torch.get_rng_state(), state)


class Noisy(torch.nn.Linear):
    """A custom layer that draws."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x + torch.randn_like(x))


class OwnFamily(t3vae.VAE):
    """A custom family, which may draw as it likes."""


def test_what_may_draw_elsewhere() -> None:
    linear = torch.nn.Linear
    quiet = torch.nn.Sequential(linear(2, 4), torch.nn.GELU(), torch.nn.BatchNorm1d(4))
    assert not t3vae.VAE(2, 2, encoder=quiet).draws_elsewhere
    hooked = linear(2, 4)
    hooked.register_forward_pre_hook(lambda module, given: None)
    for encoder in (Noisy(2, 4), hooked, torch.nn.Sequential(linear(2, 4), torch.nn.RReLU())):
        assert t3vae.VAE(2, 2, encoder=encoder).draws_elsewhere
    assert OwnFamily(2, 2).draws_elsewhere


def test_initialisations_take_turns() -> None:
    def first(seed: int) -> list[Any]:
        with t3vae.seed(seed):
            return [p.tolist() for p in t3vae.VAE(2, 2).parameters()]

    expected = [first(seed) for seed in range(6)]
    assert at_once([lambda seed=seed: first(seed) for seed in range(6)]) == expected


def test_streams_of_a_thread_nest() -> None:
    device = torch.device("cpu")

    def draw() -> float:
        return float(torch.randn((), generator=seeding.generator(device)))

    with seeding.own_stream(0, "a"):
        first = draw()
    with seeding.torch_stream(0, "a"):
        assert seeding.generator(device) is None and draw() == first
    with seeding.own_stream(0, "a"):
        with seeding.own_stream(0, "b"):
            other = draw()
        with seeding.torch_stream(0, "b"):
            assert float(torch.randn(())) == other
        assert draw() == first != other
    assert seeding.generator(device) is None


def test_gradients_of_two_threads_stay_apart() -> None:
    """One thread's step allows no other thread's layers to write into their parameters."""
    model = build("vae", "cnn").eval()
    x = IMAGES[:2] / 255.0
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    with accumulate.training_step() as step:
        step.into_parameters = True

        def elsewhere() -> bool:
            loss = model.loss(x)
            torch.autograd.grad(loss.total, list(model.encoder.parameters()))
            return all(not bool(p.grad.any()) for p in model.parameters())

        assert at_once([elsewhere]) == [True]
    assert accumulate.current() is None


def test_files_written_at_once_have_the_rights_of_the_process(tmp_path: Any) -> None:
    """The mask of the process can only be asked by setting it, which threads must not do."""
    mask = os.umask(0)
    os.umask(mask)

    def write(number: int) -> None:
        for _ in range(20):
            files.write_text(tmp_path / f"{number}.txt", "x")

    at_once([lambda i=i: write(i) for i in range(6)])
    assert os.umask(mask) == mask
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {0o666 & ~mask}
