"""The training loop: one for every model.

Data lie in memory; every step draws its noise from (seed, step), every epoch its order
from (seed, epoch), so that a training that was interrupted anywhere goes on with the
same numbers. Validation uses the same noise in every epoch, which takes its share of
chance out of the choice of the best epoch.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t3vae.errors import ConfigError, DataError, DivergedError
from t3vae.models import inputs
from t3vae.models.base import Model, check_model
from t3vae.provenance.digests import digest
from t3vae.runtime import seeding
from t3vae.runtime.progress import bar
from t3vae.runtime.scratch import TERMINATED, Scratch, TerminationFlag
from t3vae.runtime.seeding import generator
from t3vae.settings import arguments
from t3vae.settings.config import Training
from t3vae.training import checkpoint
from t3vae.training.batches import Rows, exact_kernels, network_precision
from t3vae.training.optimizer import FlatAdam

__all__ = ["HISTORY_COLUMNS", "Result", "Settings", "fit"]

HISTORY_COLUMNS = (
    "epoch",
    "step",
    "train_reconstruction",
    "train_regularizer",
    "train_total",
    "validation_reconstruction",
    "validation_regularizer",
    "validation_total",
)
_CHECK_EVERY = 50
_TERMS = ("reconstruction", "regularizer")
_IMAGE_DIMS = 4  # of a batch
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


@dataclass(frozen=True)
class Settings:
    """How to train; see ``training`` in ``params.yaml``.

    Attributes:
        learning_rate, epsilon, weight_decay: of Adam; weight_decay is an L2 penalty.
        batch_size: points in a step; the last step of an epoch takes what is left.
        epochs: largest number of epochs.
        patience: epochs without a better validation loss before training stops.
        clip_norm: largest norm of the gradient, or None.
        precision: of encoder and decoder, ``float32`` or ``bfloat16``.
    """

    learning_rate: float = 1e-3
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    batch_size: int = 1024
    epochs: int = 100
    patience: int = 15
    clip_norm: float | None = None
    precision: str = "float32"


@dataclass
class Result:
    """What a training leaves: the model holds the weights of the best epoch.

    Attributes:
        history: one row an epoch, with the keys of :data:`HISTORY_COLUMNS`.
        best_epoch: epoch with the smallest validation loss, counted from 1.
        epochs: number of epochs that ran.
        seconds: wall time of the training, of all its tries together, without lost steps.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0


@dataclass
class _Position:
    """Where a training stands; plain numbers, saved as JSON."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def best_total(self) -> float:
        """Smallest validation loss so far."""
        return (
            self.history[self.best_epoch - 1]["validation_total"] if self.best_epoch else math.inf
        )


def fit(
    model: Model,
    x: Any,
    validation: Any = None,
    *,
    labels: Any = None,
    validation_labels: Any = None,
    flip: bool = False,
    seed: int = 0,
    path: Path | str | None = None,
    key: str | None = None,
    label: str = "train",
    settings: Settings | None = None,
    finish: Callable[[Result], None] | None = None,
    **changes: Any,
) -> Result:
    """Train a model in place and return its history.

    Args:
        model: model to train; afterwards it has the weights of the best epoch.
        x: training data [N, *data_shape]: array, tensor, table of pandas or nested lists; see
            :mod:`t3vae.models.inputs`. Images as bytes stay bytes.
        validation: validation data; by default a tenth of ``x``, drawn from ``seed``.
        labels, validation_labels: labels [N] of both, for conditional models.
        flip: flip images left to right at random in training.
        seed: root seed of order and noise. The first weights are those that the model was built
            with; build it within :func:`t3vae.seed` to fix them too.
        path: scratch folder; a training with the same settings, model and data goes on from
            what it finds there.
        key: digest that names the run; by default of settings, model (without its first
            weights), labels and every byte of the data.
        label: name in front of the progress bar.
        settings: how to train.
        finish: called at the end with the result, to write it down. What was written may still
            be lost, so the final state stays in the scratch folder: the same call then writes
            the same again without training, until somebody clears the folder. Without
            ``finish`` the folder is cleared at the end.
        changes: fields of :class:`Settings` that differ, for example ``epochs=20``.

    Trainings in several threads give what they give one after another, each with a model of its
    own. Where a model holds modules of others that may draw from torch's global generators
    (dropout, custom modules), one such training runs at a time.

    Raises:
        ConfigError: a setting is unknown or out of range, or a network does not fit.
        DataError: the data do not fit the model.
        DivergedError: the loss became infinite or not a number.

    Example:
        >>> from t3vae.models.t3vae import T3VAE
        >>> x = torch.randn(512, 2)
        >>> result = fit(T3VAE(2, 1, nu=5.0), x, epochs=2, batch_size=128)
        >>> len(result.history)
        2
    """
    chosen = _settings(settings or Settings(), changes)
    seed = arguments.seed(seed)
    check_model(model)
    inputs.check_uniform(model)
    model.check_networks()
    train = Rows.of(model, x, labels)
    flip = arguments.plain(flip)
    if not isinstance(flip, bool) or (flip and train.x.dim() != _IMAGE_DIMS):
        raise ConfigError(f"flip = {arguments.shown(flip)}: must be False; True is for images.")
    held_out = None
    if validation is not None:
        names = ("validation", "validation_labels")
        held_out = Rows.of(model, validation, validation_labels, names=names)
    if path and key is None:
        key = _digest(model, train, held_out, chosen, seed, flip=flip)
    if held_out is None:
        train, held_out = _split(train, seed)
    run = _Run(model, train, held_out, chosen, seed, flip=flip)
    scratch = Scratch(Path(path) if path else None, key or "")
    draws = seeding.global_generators if model.draws_elsewhere else seeding.own_generators
    with scratch.lock(), TerminationFlag() as flag, draws():
        with network_precision(model, chosen.precision), exact_kernels(), inputs.checked():
            result = run.train(scratch, flag, label, keep=finish is not None)
        if finish is None:
            scratch.clear()
        else:
            finish(result)
    return result


def _settings(settings: Settings, changes: dict[str, Any]) -> Settings:
    """Return the settings, checked by what ``training`` in ``params.yaml`` may say."""
    unknown = set(changes) - set(Settings.__dataclass_fields__)
    if unknown:
        allowed = ", ".join(Settings.__dataclass_fields__)
        raise ConfigError(f"{', '.join(sorted(unknown))}: no such setting. Settings: {allowed}.")
    return Settings(**arguments.check(Training, {**asdict(settings), **changes}))


def _digest(
    model: Model, train: Rows, validation: Rows | None, settings: Settings, seed: int, *, flip: bool
) -> str:
    """Return what a training depends on, apart from the first values of its parameters."""
    frozen = hashlib.sha256()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            frozen.update(name.encode() + parameter.detach().cpu().contiguous().numpy().tobytes())
    parts = [
        [name, type(part).__module__, type(part).__qualname__, part.extra_repr(), _options(part)]
        for name, part in model.named_modules()
    ]
    return digest(
        [
            checkpoint.describe(model),
            _ADDRESS.sub("", str(parts)),
            {name: [list(v.shape), str(v.dtype)] for name, v in model.state_dict().items()},
            frozen.hexdigest(),
            train.digest(),
            None if validation is None else validation.digest(),
            asdict(settings),
            seed,
            flip,
        ]
    )


class _Run:
    """One training in progress."""

    def __init__(
        self,
        model: Model,
        train: Rows,
        validation: Rows,
        settings: Settings,
        seed: int,
        *,
        flip: bool,
    ) -> None:
        self.model, self.data, self.validation = model, train, validation
        self.settings, self.seed, self.flip = settings, seed, flip
        groups = model.parameter_groups()
        self.optimizer = FlatAdam(
            *(group.parameters for group in groups),
            overrides=[group.settings for group in groups],
            learning_rate=settings.learning_rate,
            epsilon=settings.epsilon,
            weight_decay=settings.weight_decay,
        )
        self.best = self.optimizer.values.clone()
        self.best_buffers = {name: value.clone() for name, value in model.named_buffers()}
        self.steps_per_epoch = math.ceil(len(train) / settings.batch_size)
        self.position = _Position()
        self.losses = torch.zeros(self.steps_per_epoch, 2, dtype=train.dtype, device=train.x.device)
        self.fresh: list[Tensor] = []
        self.counted_at = time.monotonic()

    def train(self, scratch: Scratch, flag: TerminationFlag, label: str, *, keep: bool) -> Result:
        self._restore(scratch)
        was_finished = self._finished()
        total = self.settings.epochs * self.steps_per_epoch
        done = self.position.epoch * self.steps_per_epoch + self.position.step
        with bar(total, label, initial=done) as progress:
            while not self._finished():
                self._epoch(scratch, flag, progress.update)
                last = self.position.history[-1]
                progress.set_postfix_str(
                    f"epoch {self.position.epoch}, validation {last['validation_total']:.4g}"
                )
        if not was_finished:
            self._count_seconds()
            if keep:
                self._save(scratch)
        self._use_best()
        self.model.eval()
        position = self.position
        return Result(position.history, position.best_epoch, position.epoch, position.seconds)

    def _use_best(self) -> None:
        self.optimizer.values.copy_(self.best)
        for name, buffer in self.model.named_buffers():
            buffer.copy_(self.best_buffers[name])

    def _finished(self) -> bool:
        waited = self.position.epoch - self.position.best_epoch
        return self.position.epoch >= self.settings.epochs or waited >= self.settings.patience

    def _epoch(
        self, scratch: Scratch, flag: TerminationFlag, advance: Callable[[int], Any]
    ) -> None:
        model, optimizer, size = self.model, self.optimizer, self.settings.batch_size
        epoch, clip_norm = self.position.epoch, self.settings.clip_norm
        seeding.set_torch_seed(self.seed, "train/order", epoch)
        device = self.data.x.device
        order = torch.randperm(len(self.data), device=device, generator=generator(device))
        # numbers are put in order once; images would double what they take
        shuffled = None if self.data.bytes else self.data[order]
        model.train()
        for step in range(self.position.step, self.steps_per_epoch):
            part = slice(step * size, (step + 1) * size)
            batch = self.data[order[part]] if shuffled is None else shuffled[part]
            seeding.set_torch_seed(self.seed, "train/noise", epoch * self.steps_per_epoch + step)
            optimizer.zero_grad()
            loss = model.loss_and_gradients(*batch.inputs(flip=self.flip))
            if clip_norm is not None:
                optimizer.clip(clip_norm)
            optimizer.step()
            self.fresh += (loss.reconstruction, loss.regularizer)
            self.position.step = step + 1
            if len(self.fresh) >= 2 * _CHECK_EVERY or flag.raised:
                advance(self._check(scratch))
                if flag.raised:
                    self._save(scratch)
                    raise SystemExit(TERMINATED)
                if scratch.due():
                    self._save(scratch)
        advance(self._check(scratch))
        self._close_epoch(scratch)
        if scratch.due():
            self._save(scratch)

    def _check(self, scratch: Scratch) -> int:
        """Keep the losses since the last check; stop at the first that is not finite."""
        count = len(self.fresh) // 2
        if count:
            fresh = torch.stack(self.fresh).view(count, 2)
            first = self.position.step - count
            self.losses[first : self.position.step] = fresh
            self.fresh.clear()
            bad = (~torch.isfinite(fresh)).nonzero()
            if len(bad):
                self._diverged(scratch, first + int(bad[0, 0]), _TERMS[int(bad[0, 1])])
        return count

    def _diverged(self, scratch: Scratch, step: int, term: str) -> None:
        size = self.settings.batch_size
        last = min((step + 1) * size, len(self.data)) - 1
        message = (
            f"the {term} is not finite at epoch {self.position.epoch + 1}, step {step + 1} of "
            f"{self.steps_per_epoch}, batch rows {step * size}..{last} of that epoch's order. "
            f"Try a smaller learning_rate (now {self.settings.learning_rate:g}), set clip_norm, "
            "or look for extreme values in the data. The last good state is kept"
            + (f" in {scratch.folder}; remove it to try the same again." if scratch.folder else ".")
        )
        self._use_best()
        scratch.mark_failed(message)
        raise DivergedError(message)

    def _close_epoch(self, scratch: Scratch) -> None:
        counts = torch.full((self.steps_per_epoch, 1), float(self.settings.batch_size))
        counts[-1] = len(self.data) - (self.steps_per_epoch - 1) * self.settings.batch_size
        weighted = (self.losses.cpu().double() * counts.double()).sum(0) / len(self.data)
        train = [float(value) for value in weighted]
        valid = self._validate()
        if not all(map(math.isfinite, valid)):
            self._diverged(scratch, self.steps_per_epoch - 1, "validation loss")
        position, beta = self.position, self.model.beta
        position.epoch += 1
        position.step = 0
        total = valid[0] + beta * valid[1]
        steps = position.epoch * self.steps_per_epoch
        row = [position.epoch, steps, *train, train[0] + beta * train[1], *valid, total]
        position.history.append(dict(zip(HISTORY_COLUMNS, row, strict=True)))
        if total < position.best_total:
            position.best_epoch = position.epoch
            self.best.copy_(self.optimizer.values)
            for name, buffer in self.model.named_buffers():
                self.best_buffers[name].copy_(buffer)

    @torch.no_grad()
    def _validate(self) -> list[float]:
        """Return mean reconstruction and regularizer over the validation data."""
        self.model.eval()
        seeding.set_torch_seed(self.seed, "validation/noise")
        x = self.validation.x
        block = max(self.settings.batch_size, 4096) if x.dim() == 2 else 256
        sums = torch.zeros(2, dtype=torch.float64, device=x.device)
        for start in range(0, len(self.validation), block):
            batch = self.validation[start : start + block]
            loss = self.model.loss(*batch.inputs())
            sums += torch.stack([loss.reconstruction, loss.regularizer]).double() * len(batch)
        return [float(value) for value in sums / len(self.validation)]

    # -- interruption ------------------------------------------------------------------

    def _save(self, scratch: Scratch) -> None:
        tensors = {f"best/{name}": value for name, value in self.best_buffers.items()}
        tensors["best"] = self.optimizer.packed(self.best)
        if not self._finished():  # else nothing but the best epoch is wanted any more
            self._count_seconds()
            state = self.optimizer.state()
            tensors |= {f"optimizer/{name}": value for name, value in state.items()}
            tensors |= {f"buffer/{name}": value for name, value in self.model.named_buffers()}
            tensors["losses"] = self.losses
        scratch.save(tensors, asdict(self.position))

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self.position.seconds += now - self.counted_at
        self.counted_at = now

    def _restore(self, scratch: Scratch) -> None:
        found = scratch.load()
        if found is None:
            return
        tensors, record = found
        record.pop("best_total", None)  # as an older version wrote it
        self.position = _Position(**record)
        self.optimizer.unpack(tensors["best"], self.best)
        for name, buffer in self.best_buffers.items():
            buffer.copy_(tensors[f"best/{name}"])
        if self._finished():
            return
        self.optimizer.load_state(
            {name: tensors[f"optimizer/{name}"] for name in self.optimizer.state()}
        )
        self.losses.copy_(tensors["losses"])
        for name, buffer in self.model.named_buffers():
            buffer.copy_(tensors[f"buffer/{name}"])


def _options(part: Any) -> dict[str, str]:
    """Return what a module computes with beside its parameters, as far as it has a name."""
    plain = (bool, int, float, str)
    return {
        name: str(getattr(value, "__qualname__", value))
        for name, value in sorted(vars(part).items())
        if name[0] != "_" and name != "training"
        if isinstance(value, plain) or hasattr(value, "__qualname__")
    }


def _split(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    held = max(1, len(rows) // 10)
    if len(rows) < 2:
        raise DataError(f"data with {len(rows)} row: needs at least 2 to hold out validation data.")
    order = torch.from_numpy(seeding.numpy_generator(seed, "split").permutation(len(rows)))
    order = order.to(rows.x.device)
    return rows[order[held:]], rows[order[:held]]
