"""The training loop: optimiser, early stop, resume, divergence, determinism."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from family_examples import examples

from t3vae import models
from t3vae.errors import ConfigError, DataError, DivergedError, RunLockedError
from t3vae.runtime import files
from t3vae.runtime.scratch import Scratch
from t3vae.settings import families
from t3vae.training import batches, loop
from t3vae.training.optimizer import FlatAdam

CLASSES = 3
STILL = 1e-30  # a learning rate, which must be positive, too small to change a weight


def model_of(family: str = "t3vae", n: int = 2):
    torch.manual_seed(7)
    network = {"kind": "mlp", "hidden": [8, 8], "negative_slope": 0.01}
    given = examples(family)[0]
    return models.build(
        {"family": family, **given}, [n], 1, sigma=0.5, network=network, classes=CLASSES
    )


def labels_of(family: str, rows: int = 300) -> dict:
    """What a conditional model needs beside the data."""
    if not models.model_class(family).conditional:
        return {}
    return {"labels": torch.arange(rows) % CLASSES}


def data(rows: int = 300, n: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(rows, n, generator=generator)


def test_flat_adam_equals_torch() -> None:
    ours, theirs = model_of(), model_of()
    x = data()
    flat = FlatAdam(ours.parameters(), learning_rate=0.01, epsilon=1e-8, weight_decay=1e-2)
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01, eps=1e-8, weight_decay=1e-2)
    for step in range(20):
        for model, optimizer in ((ours, flat), (theirs, reference)):
            torch.manual_seed(step)
            optimizer.zero_grad()
            model.loss(x).total.backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_clipping_bounds_the_norm() -> None:
    model = model_of()
    optimizer = FlatAdam(model.parameters(), learning_rate=0.01)
    model.loss(100 * data()).total.backward()
    before = optimizer.gradients.clone()
    assert float(before.norm()) > 1
    optimizer.clip(1.0)
    assert float(optimizer.gradients.norm()) == pytest.approx(1, rel=1e-4)
    torch.testing.assert_close(
        optimizer.gradients / optimizer.gradients.norm(), before / before.norm()
    )


def test_training_improves_and_keeps_the_best_epoch() -> None:
    model = model_of("vae")
    x, held_out = data(2000), data(500)
    result = loop.fit(model, x, held_out, epochs=8, batch_size=100, learning_rate=0.02, seed=1)
    totals = [row["validation_total"] for row in result.history]
    assert totals[-1] < totals[0]
    assert result.best_epoch == 1 + totals.index(min(totals))
    again = loop.fit(
        model_of("vae"), x, held_out, epochs=result.best_epoch, batch_size=100,
        learning_rate=0.02, seed=1,
    )  # fmt: skip
    assert again.history == result.history[: result.best_epoch]
    row = result.history[0]
    for split in ("train", "validation"):
        total = row[f"{split}_reconstruction"] + model.beta * row[f"{split}_regularizer"]
        assert row[f"{split}_total"] == pytest.approx(total)


def test_history_is_a_mean_over_points(monkeypatch) -> None:
    """Where no step changes a weight, every batch sees the same weights."""
    model = model_of("vae")
    x = data(250)
    result = loop.fit(model, x, x, epochs=1, batch_size=100, learning_rate=STILL)
    expected = float(model.loss(x).regularizer)
    assert result.history[0]["train_regularizer"] == pytest.approx(expected, rel=1e-5)


def test_early_stop_counts_epochs_without_improvement() -> None:
    model = model_of("vae")
    result = loop.fit(model, data(), data(), epochs=50, patience=4, learning_rate=STILL)
    assert result.best_epoch == 1
    assert result.epochs == 5


@pytest.mark.parametrize("family", list(families.FAMILIES))
def test_same_seed_same_bytes(family: str) -> None:
    states = []
    for seed in (3, 3, 4):
        model = model_of(family)
        loop.fit(model, data(), **labels_of(family), epochs=2, batch_size=64, seed=seed)
        states.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_training_leaves_the_caller_s_random_state_alone() -> None:
    model = model_of()
    torch.manual_seed(11)
    before = torch.get_rng_state()
    loop.fit(model, data(), epochs=1)
    assert torch.equal(torch.get_rng_state(), before)


class StopError(Exception):
    pass


@pytest.mark.parametrize("family", list(families.FAMILIES))
@pytest.mark.parametrize("stop_at", [3, 7, 10, 14])
def test_interrupted_training_ends_with_the_same_bytes(
    family: str, stop_at: int, tmp_path: Path, monkeypatch
) -> None:
    arguments = {"epochs": 3, "batch_size": 64, "seed": 2, "patience": 3, **labels_of(family)}
    whole = model_of(family)
    expected = loop.fit(whole, data(), **arguments)
    steps = 0
    original = FlatAdam.step

    def step(self: FlatAdam) -> None:
        nonlocal steps
        original(self)
        steps += 1
        if steps == stop_at:
            raise StopError

    monkeypatch.setattr(loop, "_CHECK_EVERY", 2)
    monkeypatch.setattr(Scratch, "due", lambda self: self.folder is not None)
    monkeypatch.setattr(FlatAdam, "step", step)
    with pytest.raises(StopError):
        loop.fit(model_of(family), data(), path=tmp_path / "run", **arguments)
    saved = (tmp_path / "run/state.safetensors").exists()
    assert saved
    monkeypatch.setattr(FlatAdam, "step", original)
    torch.manual_seed(99)
    resumed = models.build(
        {"family": family, **examples(family)[0]}, [2], 1, sigma=0.5, network=whole.network,
        classes=CLASSES,
    )  # fmt: skip
    result = loop.fit(resumed, data(), path=tmp_path / "run", **arguments)
    assert result.history == expected.history
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("family", list(families.FAMILIES))
@pytest.mark.parametrize("early", [True, False])
def test_finished_training_is_not_done_again(
    family: str, early: bool, tmp_path: Path, monkeypatch
) -> None:
    """Neither when all epochs have run nor when it stopped early."""
    arguments = {"epochs": 2, "batch_size": 64, "patience": 9, **labels_of(family)}
    if early:
        arguments |= {"epochs": 9, "patience": 1, "learning_rate": STILL}
    written: list[loop.Result] = []
    whole = model_of(family)
    arguments |= {"path": tmp_path / "run", "finish": written.append}
    loop.fit(whole, data(), **arguments)

    def refuse(*_: object) -> None:
        raise StopError

    for owner, name in (
        (FlatAdam, "step"),
        (loop._Run, "_epoch"),
        (loop._Run, "_validate"),
    ):
        monkeypatch.setattr(owner, name, refuse)
    torch.manual_seed(99)
    again = models.build(
        {"family": family, **examples(family)[0]}, [2], 1, sigma=0.5, network=whole.network,
        classes=CLASSES,
    )  # fmt: skip
    loop.fit(again, data(), **arguments)
    first, second = written
    assert first == second and second.epochs < 9 and second.seconds > 0.0
    expected, found = whole.state_dict(), again.state_dict()
    assert expected.keys() == found.keys() and not again.training
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    with pytest.raises(StopError):
        loop.fit(again, data(), seed=1, **arguments)


def test_seconds_are_those_of_all_tries(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Scratch, "due", lambda self: self.folder is not None)
    original, steps = FlatAdam.step, list(range(6))

    def step(self: FlatAdam) -> None:
        original(self)
        if not steps:
            raise StopError
        steps.pop()

    monkeypatch.setattr(FlatAdam, "step", step)
    arguments: dict = {"epochs": 2, "batch_size": 64, "path": tmp_path / "run"}
    with pytest.raises(StopError):
        loop.fit(model_of("vae"), data(), **arguments)
    monkeypatch.setattr(FlatAdam, "step", original)
    state = tmp_path / "run/state.safetensors"
    metadata = files.read_tensors_header(state)
    record = json.loads(metadata["record"])
    assert record["seconds"] > 0.0
    record["seconds"] += 1000.0
    files.write_tensors(
        state, files.read_tensors(state), {**metadata, "record": json.dumps(record)}, finite=False
    )
    result = loop.fit(model_of("vae"), data(), **arguments)
    assert 1000.0 < result.seconds < 2000.0


def test_state_of_another_configuration_is_not_used(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, "one")
    scratch.save({"best": torch.zeros(1)}, {"epoch": 1})
    assert scratch.load() is not None
    assert Scratch(tmp_path, "two").load() is None


OTHER_DATA = {
    "columns in another order": lambda x, y, v: (x.flip(1), y, v),
    "rows in another order": lambda x, y, v: (x.flip(0), y, v),
    "two values changed places": lambda x, y, v: (torch.cat([x[:1].flip(1), x[1:]]), y, v),
    "other signs": lambda x, y, v: (-x, y, v),
    "one row less": lambda x, y, v: (x[1:], y[1:], v),
    "labels in another order": lambda x, y, v: (x, y.flip(0), v),
    "other validation data": lambda x, y, v: (x, y, v.flip(1)),
    "no validation data": lambda x, y, v: (x, y, None),
}


@pytest.mark.parametrize("other", OTHER_DATA)
def test_state_of_other_data_is_not_used(other: str, tmp_path: Path) -> None:
    """Neither where their sums are the same nor where their shapes are."""
    x, v = data(), data(rows=50).double().float()
    y = torch.arange(len(x)) % CLASSES
    changed = OTHER_DATA[other](x, y, v)
    histories = []
    for (x_, y_, v_), path in (((x, y, v), "run"), (changed, "run"), (changed, "afresh")):
        known = {"labels": y_}
        if v_ is not None:
            known["validation_labels"] = torch.arange(len(v_)) % CLASSES
        result = loop.fit(
            model_of("c_t3vae"), x_, v_, epochs=1, batch_size=64, path=tmp_path / path,
            finish=lambda result: None, **known,
        )  # fmt: skip
        histories.append(result.history)
    assert histories[1] == histories[2] != histories[0]


def custom(slope: float = 0.1, activation=torch.tanh, n: int = 4):
    """A model with a network whose parameters do not say what it computes."""

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.act = torch.nn.Linear(2, n), torch.nn.LeakyReLU(slope)
            self.function = activation

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.function(self.act(self.first(x)))

    torch.manual_seed(7)
    return models.build({"family": "vae"}, [2], 2, sigma=0.5, encoder=Encoder())


def frozen(value: float):
    model = model_of("vae")
    bias = next(reversed(list(model.decoder.parameters()))).requires_grad_(False)
    bias.data.fill_(value)
    return model


def of_sigma(sigma: float):
    torch.manual_seed(7)
    return models.build({"family": "vae"}, [2], 1, sigma=sigma)


class OtherLoss(models.model_class("vae")):
    """The same parameters as its base, with another loss."""

    def loss(self, x):
        loss = super().loss(x)
        return loss._replace(total=loss.reconstruction)


def with_other_loss():
    torch.manual_seed(7)
    return OtherLoss(2, 1)


OTHER_MODELS = {
    "family": (lambda: model_of("vae"), lambda: model_of("factor_vae")),
    "sigma": (lambda: of_sigma(0.5), lambda: of_sigma(1.0)),
    "custom family": (lambda: of_sigma(1.0), with_other_loss),
    "option of a layer": (custom, lambda: custom(slope=0.2)),
    "function of a layer": (custom, lambda: custom(activation=torch.relu)),
    "frozen weights": (lambda: frozen(0.0), lambda: frozen(1.0)),
    "what is frozen": (lambda: model_of("vae"), lambda: frozen(0.0)),
    "number format": (lambda: model_of("vae"), lambda: model_of("vae").double()),
}


@pytest.mark.parametrize("other", OTHER_MODELS)
def test_state_of_another_model_is_not_used(other: str, tmp_path: Path) -> None:
    histories = []
    for index, path in ((0, "run"), (1, "run"), (1, "afresh")):
        result = loop.fit(
            OTHER_MODELS[other][index](), data(), epochs=1, batch_size=64,
            path=tmp_path / path, finish=lambda result: None,
        )  # fmt: skip
        histories.append(result.history)
    assert histories[1] == histories[2] != histories[0]


@pytest.mark.parametrize("setting", [{"epochs": 2}, {"batch_size": 32}, {"seed": 1}])
def test_state_of_other_settings_is_not_used(setting: dict, tmp_path: Path) -> None:
    histories = []
    for more, path in (({}, "run"), (setting, "run"), (setting, "afresh")):
        arguments = {"epochs": 1, "batch_size": 64, **more}
        result = loop.fit(
            model_of("vae"), data(), path=tmp_path / path, finish=lambda result: None, **arguments
        )
        histories.append(result.history)
    assert histories[1] == histories[2] != histories[0]


@pytest.mark.parametrize("form", ["array", "table", "float64"])
def test_the_same_data_in_another_form_go_on(form: str, tmp_path: Path, monkeypatch) -> None:
    import pandas as pd

    arguments = {"epochs": 1, "path": tmp_path / "run", "finish": lambda result: None}
    loop.fit(model_of("vae"), data(), **arguments)
    array = data().numpy()
    x = {"array": array, "table": pd.DataFrame(array), "float64": array.astype(float)}[form]
    monkeypatch.setattr(loop._Run, "_epoch", lambda *_: pytest.fail("it was trained again"))
    loop.fit(model_of("vae"), x, **arguments)


def test_data_are_read_for_a_digest_only_where_a_state_is_kept(tmp_path: Path, monkeypatch) -> None:
    read = []
    monkeypatch.setattr(batches.Rows, "digest", lambda self: read.append(len(self)) or "")
    loop.fit(model_of("vae"), data(), epochs=1)
    loop.fit(model_of("vae"), data(), epochs=1, path=tmp_path / "run", key="known")
    assert read == []
    loop.fit(model_of("vae"), data(), epochs=1, path=tmp_path / "run")
    assert read == [300]


def test_damaged_state_starts_afresh(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, "one")
    scratch.save({"best": torch.zeros(100)}, {"epoch": 1})
    path = tmp_path / "state.safetensors"
    content = path.read_bytes()
    for cut in (0, 4, 20, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        assert scratch.load() is None


def test_divergence_says_where_and_a_retry_says_it_again(tmp_path: Path) -> None:
    x = data(200)
    x[13, 1] = 1e30
    for _ in range(2):
        with pytest.raises(
            DivergedError, match=r"epoch 1, step \d+ of 4, batch rows .* Try a smaller"
        ):
            loop.fit(model_of("vae"), x, data(), batch_size=50, epochs=2, path=tmp_path / "run")
    assert (tmp_path / "run/failed.json").exists()


def test_second_process_is_refused(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "run", "key")
    with scratch.lock(), pytest.raises(RunLockedError, match="another process"):
        loop.fit(model_of(), data(), path=tmp_path / "run", epochs=1)
    loop.fit(model_of(), data(), path=tmp_path / "run", epochs=1)


@pytest.mark.parametrize("holds", [False, True])
def test_a_platform_without_fcntl(holds: bool, tmp_path: Path) -> None:
    """Training, saving, and refusing a second training, all without the locks of POSIX."""
    program = textwrap.dedent("""
        import sys
        sys.modules["fcntl"] = None
        import torch, t3vae
        from t3vae.errors import RunLockedError
        from t3vae.runtime.scratch import Scratch
        folder, holds = sys.argv[1], sys.argv[2] == "True"
        x = torch.randn(60, 2)
        def fit():
            model = t3vae.VAE(2, 1)
            finish = lambda result: t3vae.save(model, folder + "/model.safetensors")
            t3vae.fit(model, x, epochs=1, path=folder + "/run", finish=finish)
        if holds:
            with Scratch(folder + "/run", "key").lock():
                try:
                    fit()
                except RunLockedError as error:
                    print("refused")
        fit()
        t3vae.load(folder + "/model.safetensors")
        t3vae.fit(t3vae.VAE(2, 1), x, epochs=1, path=folder + "/run")
    """)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path), str(holds)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("refused\n" if holds else "")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_sigterm_saves_and_exits_143(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys, torch
        from t3vae import models
        from t3vae.training import batches, loop
        torch.manual_seed(0)
        model = models.build({"family": "t3vae", "nu": 5.0}, [2], 1, sigma=0.5)
        print("started", flush=True)
        loop.fit(model, torch.randn(20000, 2), epochs=100000, patience=100000, path=sys.argv[1])
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    process.stdout.readline()
    deadline = time.monotonic() + 60
    while not (tmp_path / "run/lock").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert (tmp_path / "run/state.safetensors").exists()


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (torch.zeros(5, 3), "must be"),
        (torch.zeros(0, 2), "must be"),
        (torch.full((5, 2), math.nan), "not finite"),
        (torch.zeros(1, 2), "at least 2"),
    ],
)
def test_data_that_do_not_fit_are_refused(x: torch.Tensor, error: str) -> None:
    with pytest.raises(DataError, match=error):
        loop.fit(model_of(), x, epochs=1)


def test_unknown_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="epoks: no such setting"):
        loop.fit(model_of(), data(), epoks=3)
