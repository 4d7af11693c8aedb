"""What a GPU does with these models: the same numbers as the CPU, and how fast.

    python -m benchmarks.gpu --minutes 9 --out DIR

It needs this checkout, torch >= 2.11 and the light set of packages that ``pyproject.toml``
names (pydantic, safetensors, click, pyyaml, tqdm). Steps run in order of value and each writes
its JSON when it is done, so that a run that is cut off still counts. ``--device cpu --tiny``
runs the same code in seconds, for tests.

1. ``equality``: objective, gradients and a short training of each family, CPU against the
   device in float32, and bfloat16 networks beside them; a stopped and resumed training; the
   claim of a device.
2. ``speed``: images a second of a training step, by size, batch, precision and the way it is
   launched; peak memory; share of the time that a whole epoch spends outside the step.
3. ``frechet``: features a second of the classifier, and the Frechet distance.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from t3vae import models
from t3vae.runtime import device as devices
from t3vae.runtime import files
from t3vae.settings.families import FAMILIES
from t3vae.training import loop
from t3vae.training.batches import Rows, exact_kernels, network_precision
from t3vae.training.optimizer import FlatAdam

NU, CLASSES = 10.0, 10
GIVEN: dict[str, dict[str, Any]] = {
    "tilted_vae": {"tilt": 10.0},
    "factor_vae": {"tc_weight": 5.0, "discriminator_width": 64},
    "vae": {},
    "student_t_vae": {},
    "hvae": {},
    "c_vae": {},
}
FLOPS_BF16 = {"NVIDIA H100": 989e12, "NVIDIA H200": 989e12, "NVIDIA A100": 312e12}


def build(family: str, shape: list[int], m: int, network: dict[str, Any], sigma: float = 1.0):
    """Return a model with the same weights for the same arguments."""
    torch.manual_seed(0)
    given = GIVEN.get(family, {"nu": NU})
    return models.build(
        {"family": family, **given}, shape, m, sigma=sigma, network=network, classes=CLASSES
    )


def labels_of(model: Any, count: int) -> dict[str, torch.Tensor]:
    """Return the labels that a conditional model needs."""
    return {"labels": torch.arange(count) % CLASSES} if model.conditional else {}


# --- 1. equality ----------------------------------------------------------------------------


def equality(device: str, tiny: bool) -> Iterator[dict[str, Any]]:
    """Yield one record for each family and kind of data."""
    cases = {
        "numbers": ([4], 2, {"kind": "mlp", "hidden": [64, 64], "negative_slope": 0.01}),
        "images": ([3, 32, 32], 16, {"kind": "cnn", "width": 0.03125 if tiny else 0.125}),
    }
    for kind, (shape, m, network) in cases.items():
        for family in FAMILIES:
            yield {"kind": kind, "family": family, **_one_step(family, shape, m, network, device)}
            yield {"kind": kind, "family": family, **_training(family, shape, m, network, device)}


def _data(shape: list[int], count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    if len(shape) == 3:
        return torch.randint(0, 256, (count, *shape), generator=generator).byte()
    return torch.randn(count, *shape, generator=generator) * 2.0


def _one_step(
    family: str, shape: list[int], m: int, network: dict[str, Any], device: str
) -> dict[str, Any]:
    """Objective and gradients with the same noise, as largest relative differences."""
    found: dict[str, Any] = {"what": "step"}
    reference = None
    for place, precision in (("cpu", "float32"), (device, "float32"), (device, "bfloat16")):
        if precision == "bfloat16" and network["kind"] == "mlp":
            continue
        model = build(family, shape, m, network).to(place)
        rows = Rows.of(model, _data(shape, 64), labels_of(model, 64).get("labels"))
        optimizer = FlatAdam(*(g.parameters for g in model.parameter_groups()), learning_rate=1e-3)
        optimizer.zero_grad()
        try:
            with network_precision(model, precision), exact_kernels(), _same_noise():
                loss = model.loss_and_gradients(*rows.inputs())
        except RuntimeError as error:  # a family that cannot run there is a finding
            found[f"{place}_{precision}_error"] = f"{type(error).__name__}: {error}"[:300]
            continue
        packed = optimizer.packed(optimizer.gradients)
        values = torch.stack([*loss]).double().cpu(), packed.double().cpu()
        if reference is None:
            reference = values
            continue
        name = f"{place}_{precision}"
        scale = reference[1].norm()
        found[f"{name}_loss"] = float(((values[0] - reference[0]) / reference[0]).abs().max())
        found[f"{name}_gradient"] = float((values[1] - reference[1]).norm() / scale)
    return found


class _same_noise:  # noqa: N801
    """Draw normal noise on the CPU from a fixed seed, whatever the device."""

    def __enter__(self) -> None:
        self.before = torch.randn, torch.randn_like, torch._standard_gamma
        torch.manual_seed(3)

        def randn(*size: Any, dtype: Any = None, device: Any = None, **_: Any) -> torch.Tensor:
            return self.before[0](*size, dtype=dtype).to(device or "cpu")

        def randn_like(x: torch.Tensor, **_: Any) -> torch.Tensor:
            return self.before[0](x.shape, dtype=x.dtype).to(x.device)

        def gamma(x: torch.Tensor, **_: Any) -> torch.Tensor:
            return self.before[2](x.detach().cpu()).to(x.device)

        torch.randn, torch.randn_like, torch._standard_gamma = randn, randn_like, gamma

    def __exit__(self, *_: object) -> None:
        torch.randn, torch.randn_like, torch._standard_gamma = self.before


def _training(
    family: str, shape: list[int], m: int, network: dict[str, Any], device: str
) -> dict[str, Any]:
    """A short training on the device: twice the same bytes? Stopped and resumed the same?"""
    count = 160
    x = _data(shape, count)
    found: dict[str, Any] = {"what": "training"}

    def train(path: Path | None, stop_after: int | None = None) -> torch.Tensor | None:
        model = build(family, shape, m, network).to(device)
        original, steps = FlatAdam.step, 0

        def step(self: FlatAdam) -> None:
            nonlocal steps
            original(self)
            steps += 1
            if stop_after is not None and steps == stop_after:
                raise KeyboardInterrupt

        FlatAdam.step = step  # type: ignore[method-assign]
        try:
            loop.fit(
                model, x, x[:32], epochs=4, batch_size=32, seed=0, path=path,
                **labels_of(model, count),
                **({"validation_labels": torch.arange(32) % CLASSES} if model.conditional else {}),
            )  # fmt: skip
        except KeyboardInterrupt:
            return None
        finally:
            FlatAdam.step = original  # type: ignore[method-assign]
        return torch.cat([p.detach().flatten().cpu() for p in model.parameters()])

    try:
        first, second = train(None), train(None)
        with tempfile.TemporaryDirectory() as folder:
            from t3vae.runtime.scratch import Scratch

            due, Scratch.due = Scratch.due, lambda self: self.folder is not None  # type: ignore[method-assign]
            try:
                train(Path(folder) / "run", stop_after=13)
                resumed = train(Path(folder) / "run")
            finally:
                Scratch.due = due  # type: ignore[method-assign]
        assert first is not None and second is not None and resumed is not None
        found["same_bytes"] = bool(torch.equal(first, second))
        found["resumed_difference"] = float((resumed - first).abs().max())
        found["finite"] = bool(torch.isfinite(first).all())
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"[:300]
    return found


def claim() -> dict[str, Any]:
    """Return which device this process would claim, without touching what is set."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    resolved = devices.resolve("auto")
    return {"resolved": resolved, "CUDA_VISIBLE_DEVICES": before}


# --- 2. speed -------------------------------------------------------------------------------


def speed(device: str, tiny: bool, until: float) -> Iterator[dict[str, Any]]:
    """Yield images a second of a training step in each setting, the most telling first."""
    sides, batches = ([8], [16]) if tiny else ([32, 64], [128, 256, 512, 1024])
    width = 0.03125 if tiny else 1.0
    cases = [
        (family, side, batch, precision, way)
        for batch in batches
        for side in sides
        for precision in ("bfloat16", "float32")
        for way in ("eager", "eager, any kernel", "graph", "compile")
        for family in (("t3vae", "vae") if batch == batches[0] else ("t3vae",))
        if not (way == "compile" and (batch != batches[0] or precision == "float32" or tiny))
    ]
    cases.sort(key=lambda case: case[4] == "compile")
    for family, side, batch, precision, way in cases:
        if time.monotonic() > until:
            return
        record = {
            "family": family, "side": side, "batch": batch, "precision": precision, "way": way,
        }  # fmt: skip
        try:
            yield {**record, **_speed(family, side, batch, precision, way, device, width)}
        except RuntimeError as error:
            yield {**record, "error": f"{type(error).__name__}: {error}"[:300]}
        finally:
            if device == "cuda":
                torch.cuda.empty_cache()


def _speed(
    family: str, side: int, batch: int, precision: str, way: str, device: str, width: float
) -> dict[str, Any]:
    model = build(family, [3, side, side], 64, {"kind": "cnn", "width": width}).to(device)
    data = torch.randint(0, 256, (4 * batch, 3, side, side)).byte().to(device)
    optimizer = FlatAdam(*(g.parameters for g in model.parameter_groups()), learning_rate=1e-4)
    rows = Rows(data)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    static = rows[torch.arange(batch, device=device)]

    def step(part: Rows = static) -> torch.Tensor:
        optimizer.zero_grad()
        loss = model.loss_and_gradients(*part.inputs(flip=True))
        optimizer.step()
        return loss.total

    exact = contextlib.nullcontext() if way == "eager, any kernel" else exact_kernels()
    with network_precision(model, precision), exact:
        run: Callable[[], Any] = step
        if way == "compile":
            run = torch.compile(step)
        for _ in range(3):
            run()
        if way == "graph":
            run = _graph(step)
        once = _seconds(run, device)
        model.train()
    found = {
        "images_per_second": batch / once,
        "milliseconds": 1e3 * once,
    }
    if device == "cuda":
        found["peak_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return found


def _graph(step: Callable[[], Any]) -> Callable[[], None]:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _seconds(run: Callable[[], Any], device: str, repeats: int = 5) -> float:
    """Return the median time of one call, in seconds, over blocks of calls."""
    times = []
    count = 1 if device == "cpu" else 20
    for _ in range(repeats):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(count):
            run()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / count)
    return statistics.median(times)


def epoch(device: str, tiny: bool) -> dict[str, Any]:
    """Seconds of an epoch of the real loop, with data on the device, beside its steps alone."""
    count, batch, side = (64, 16, 8) if tiny else (16_384, 128, 32)
    width = 0.03125 if tiny else 1.0
    model = build("t3vae", [3, side, side], 64, {"kind": "cnn", "width": width}).to(device)
    x = torch.randint(0, 256, (count, 3, side, side)).byte()
    settings = {"batch_size": batch, "precision": "bfloat16", "learning_rate": 1e-4}
    loop.fit(model, x, x[:batch], epochs=1, flip=True, **settings)
    start = time.perf_counter()
    loop.fit(model, x, x[:batch], epochs=2, flip=True, **settings)
    seconds = (time.perf_counter() - start) / 2
    return {"images": count, "seconds": seconds, "images_per_second": count / seconds}


# --- 3. Frechet -----------------------------------------------------------------------------


def frechet(device: str, tiny: bool) -> dict[str, Any]:
    """Features a second of the classifier of a data set."""
    from t3vae.extractors import classifier

    count, side = (64, 8) if tiny else (10_000, 32)
    images = torch.randint(0, 256, (count, 3, side, side)).byte()
    torch.manual_seed(0)
    net = classifier.Classifier([3, side, side], 10, width=64, features=256).to(device).eval()
    with torch.no_grad():

        def run() -> None:
            for start in range(0, count, 1000):
                net(images[start : start + 1000].to(device).float().div_(255.0))

        seconds = _seconds(run, "cpu", 3)
    return {"features_per_second": count / seconds}


# --- main -----------------------------------------------------------------------------------


def main() -> None:
    """Run the steps and write one JSON file each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after this time")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes for a test")
    arguments = parser.parse_args()
    device, tiny = arguments.device, arguments.tiny
    started = time.monotonic()
    until = started + 60 * arguments.minutes
    machine = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "claim": claim(),
    }

    def write(name: str, content: Any) -> None:
        record = {"machine": machine, "seconds": time.monotonic() - started, name: content}
        files.write_json(arguments.out / f"{name}.json", record)
        print(name, json.dumps(content)[:4000], flush=True)

    arguments.out.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    for record in equality(device, tiny):
        records.append(record)
        print(json.dumps(record), flush=True)
    write("equality", records)
    speeds: list[dict[str, Any]] = []
    for record in speed(device, tiny, until - 60):
        speeds.append(record)
        print(json.dumps(record), flush=True)
        write_now = {"machine": machine, "speed": speeds}
        files.write_json(arguments.out / "speed.json", write_now)
    for name, step in (("epoch", epoch), ("frechet", frechet)):
        if time.monotonic() < until:
            try:
                write(name, step(device, tiny))
            except Exception as error:
                write(name, {"error": f"{type(error).__name__}: {error}"[:300]})


if __name__ == "__main__":
    main()
