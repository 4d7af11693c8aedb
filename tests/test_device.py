"""Which device `auto` means, on file systems made up for the test, and which one
of several a job gets. No accelerator is needed; none is used.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from t3vae import cli
from t3vae.errors import ConfigError
from t3vae.runtime import device


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A machine with an accelerator and its driver."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(device.shutil, "which", lambda name: None)
    for name in ("dev/nvidia0", "dev/nvidiactl", "proc/driver/nvidia/version"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_driver_and_device(root):
    assert device.has_driver(root)


@pytest.mark.parametrize("lacking", ["dev/nvidia0", "proc/driver/nvidia/version"])
def test_one_of_both_is_not_enough(root, lacking):
    (root / lacking).unlink()
    assert not device.has_driver(root)


@pytest.mark.parametrize("hidden", ["", "-1", "NoDevFiles"])
def test_hidden_devices(root, monkeypatch, hidden):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert not device.has_driver(root)


def test_resolve(monkeypatch):
    for there, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(device, "has_driver", lambda there=there: there)
        assert device.resolve("auto") == expected
    assert device.resolve("cuda") == "cuda"
    with pytest.raises(ConfigError, match="auto, cpu, cuda"):
        device.resolve("tpu")


# --- one of several -----------------------------------------------------------------------

CLAIM = textwrap.dedent("""
    import os, sys
    from pathlib import Path
    from t3vae.runtime import device
    print("ready", flush=True)
    sys.stdin.readline()
    device.claim(Path(sys.argv[1]), Path(sys.argv[2]))
    print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
    sys.stdin.readline()
""")
Jobs = list[subprocess.Popen]


@pytest.fixture
def several(root) -> Path:
    """A machine with four accelerators."""
    for number in (1, 2, 3):
        (root / f"dev/nvidia{number}").touch()
    return root


@pytest.fixture
def start(several, tmp_path) -> Iterator[Callable[..., Jobs]]:
    """Start processes that claim at the same moment; they live until they are killed."""
    jobs: Jobs = []

    def begin(number: int, **more: str) -> Jobs:
        command = [sys.executable, "-c", CLAIM, str(several), str(tmp_path / "locks")]
        new = [
            subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": str(Path(device.__file__).parents[2]), **more},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(number)
        ]
        jobs.extend(new)
        for job in new:
            assert job.stdout.readline() == "ready\n"
        for job in new:
            job.stdin.write("go\n")
            job.stdin.flush()
        return new

    yield begin
    for job in jobs:
        job.kill()
        job.communicate()


def claimed(jobs: Jobs) -> list[str]:
    return [job.stdout.readline().strip() for job in jobs]


def test_each_job_gets_its_own_and_a_killed_one_gives_it_back(start):
    jobs = start(4)
    numbers = claimed(jobs)
    assert sorted(numbers) == ["0", "1", "2", "3"]
    for killed in (2, 0):
        jobs[killed].send_signal(signal.SIGKILL)
        jobs[killed].wait()
        assert claimed(start(1)) == [numbers[killed]]


def test_more_jobs_than_accelerators_share_evenly(start):
    numbers = claimed(start(10))
    counts = sorted(numbers.count(name) for name in "0123")
    assert counts == [2, 2, 3, 3]


def test_only_those_that_are_visible_are_claimed(start):
    assert sorted(claimed(start(3, CUDA_VISIBLE_DEVICES="3, 1,GPU-5f"))) == ["1", "3", "GPU-5f"]
    # what another job has by the same name is taken, whatever else either of them sees
    assert claimed(start(1, CUDA_VISIBLE_DEVICES="3,2")) == ["2"]


@pytest.mark.parametrize("given", ["2", "GPU-8932f937", "MIG-1/2", "1,-1,2", ""])
def test_where_there_is_no_choice_nothing_is_locked(several, tmp_path, monkeypatch, given):
    """As on Slurm, which hands out one: all its jobs may name it the same."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert device.claim(several, tmp_path / "locks") is None
    assert os.environ["CUDA_VISIBLE_DEVICES"] == given
    assert not (tmp_path / "locks").exists()


def test_a_single_accelerator_is_left_alone(root, tmp_path):
    assert device.visible(root) == ["0"]
    assert device.claim(root, tmp_path / "locks") is None
    assert "CUDA_VISIBLE_DEVICES" not in os.environ and not (tmp_path / "locks").exists()


def test_numbers_are_those_of_cuda(root, tmp_path):
    """CUDA counts what it sees from 0, as in a container that was given the last two of four."""
    (root / "dev/nvidia0").unlink()
    for name in ("nvidia2", "nvidia3", "nvidia-uvm"):
        (root / f"dev/{name}").touch()
    assert device.visible(root) == ["0", "1"]


@pytest.mark.parametrize("trouble", ["a file", "a link", "of another"])
def test_without_locks_a_job_still_runs(several, tmp_path, monkeypatch, trouble):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")  # restored after the test
    locks = tmp_path / "locks"
    if trouble == "a file":
        locks.touch()
    elif trouble == "a link":
        (tmp_path / "theirs").mkdir()
        locks.symlink_to(tmp_path / "theirs")
    else:
        locks.mkdir()
        monkeypatch.setattr(device.os, "geteuid", lambda: locks.stat().st_uid + 1)
    for process, expected in ((300, "0"), (301, "1"), (302, "2")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
        monkeypatch.setattr(device.os, "getpid", lambda process=process: process)
        assert device.claim(several, locks) == expected
    assert not list(tmp_path.glob("theirs/*"))


@pytest.mark.parametrize(("name", "claims"), [("cuda", 1), ("auto", 1), ("cpu", 0)])
def test_a_job_claims_before_torch_is_there(tmp_path, monkeypatch, name, claims):
    """The stage is imported after the claim, and gets `cuda` as ever."""
    order = []
    monkeypatch.setattr(device, "has_driver", lambda: True)
    monkeypatch.setattr(device, "claim", lambda: order.append("claim"))
    monkeypatch.setattr(cli, "_config", lambda *_, **names: {})

    def run_step(verb: str, *_: object, device: str) -> None:  # which imports the stage
        order.extend(["import", device])

    monkeypatch.setattr(cli, "_run", run_step)
    run = ["--experiment", "e", "--model", "m", "--seed", "0", "--device", name]
    for arguments in (["train", *run], ["extractor", "--dataset", "d", "--device", name]):
        order.clear()
        cli.main(arguments)
        assert order == ["claim"] * claims + ["import", "cuda" if claims else "cpu"]


# --- a device that cannot be used ---------------------------------------------------------


@pytest.fixture
def cpu_only(monkeypatch) -> None:
    """A machine on which torch finds no accelerator."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    "name",
    ["cuda", "cuda:1", "mps", "meta", "gpu", "tpu", "cuda:x", "", "CPU", 1.5, None, object()],
)
def test_other_devices_are_refused_in_one_message(cpu_only, name):
    import torch

    import t3vae
    from t3vae.runtime import accelerator

    for use in (
        lambda: accelerator.usable(name),
        lambda: t3vae.load("model.safetensors", name),
        lambda: t3vae.load("model.safetensors", device=name),
    ):
        with pytest.raises(
            ConfigError, match=r"^device = .*Devices that work here: cpu\."
        ) as error:
            use()
        assert len(str(error.value).splitlines()) == 1 and "0x" not in str(error.value)
    assert accelerator.usable("cpu") == accelerator.usable("auto") == torch.device("cpu")
    assert accelerator.usable(torch.device("cpu")) == torch.device("cpu")


def test_an_accelerator_that_is_not_there(monkeypatch):
    import torch

    from t3vae.runtime import accelerator

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(
        ConfigError, match=r"'cuda:2': there are 2 CUDA devices here, counted fr"
    ) as e:
        accelerator.usable("cuda:2")
    assert "cpu, cuda:0, cuda:1" in str(e.value).replace("mps, ", "")


@pytest.mark.parametrize("verb", ["train", "sample", "evaluate", "extractor"])
def test_a_job_on_a_machine_without_a_driver(verb, tmp_path):
    """One line that names the device and one that works."""
    checkout = Path(__file__).resolve().parents[1]
    run = ["--experiment", "univariate_smoke", "--model", "vae", "--seed", "0"]
    names = ["--dataset", "digits_lt"] if verb == "extractor" else run
    command = [sys.executable, "-m", "t3vae", verb, *names, "--device", "cuda"]
    done = subprocess.run(
        [*command, "--params", str(checkout / "params.yaml"), "--root", str(tmp_path)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(checkout / "src")},
    )  # fmt: skip
    lines = done.stderr.splitlines()
    if verb == "evaluate":  # which asks for a device when it has found its inputs
        assert done.returncode == 1 and len(lines) == 1
        return
    assert done.returncode == 2 and len(lines) == 1, done.stderr
    assert lines[0].startswith("t3vae: device = 'cuda': no CUDA device can be used here")
    assert "CUDA_VISIBLE_DEVICES is ''" in lines[0] and "--device cpu" in lines[0]


def test_one_of_several_is_named_by_its_variable():
    with pytest.raises(ConfigError, match=r"Allowed are auto, cpu, cuda.*CUDA_VISIBLE_DEVICES"):
        device.resolve("cuda:1")
