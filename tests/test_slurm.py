"""The workflow on a cluster: a real Slurm of four nodes on this machine.

No node has a GPU; Slurm hands out numbers of GPUs that it was told of, the jobs find no
driver and compute on the CPU. So the profiles are tested as they are shipped.
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import loopback_slurm as slurm
import numpy as np
import pytest
import yaml
from copies import CHECKOUT, call, change, copy_code, jobs

from t3vae.runtime import files
from t3vae.settings import parameters
from t3vae.workflow import jobs as configurations
from t3vae.workflow.plan import Plan

PROFILES = CHECKOUT / "profiles"
EXTRAS = (
    CHECKOUT / "build/extras-slurm"
)  # where the continuous integration installs the extra `slurm`
PLUGINS = ("snakemake_executor_plugin_slurm", "snakemake_executor_plugin_cluster_generic")
EXPERIMENT = "univariate_smoke"
EPOCHS = 150  # minutes while the training is slow, seconds when it no longer is
LIGHT = {"collect", "figure", "report"}
RUN = ("--experiment", EXPERIMENT, "--model", "slow", "--seed", "0")

SLOW_MODEL = '''
import atexit
import sys
import time
from pathlib import Path
from pydantic import BaseModel
from t3vae.models.vae import VAE

@atexit.register
def linger():
    """A training that has done everything stays, while there is a file `lingers`."""
    while sys.argv[1:2] == ["train"] and Path("lingers").exists():
        time.sleep(0.2)

class SlowVAE(VAE):
    """A VAE that takes its time, without computing, while there is a file `slow`."""

    class Config(BaseModel):
        pause: float = 0.05

    def __init__(self, data_dim, latent_dim, *, pause, **parts):
        super().__init__(data_dim, latent_dim, **parts)
        self.pause = pause

    def hyperparameters(self):
        return {"pause": self.pause}

    def loss(self, x):
        if self.pause and Path("slow").exists():
            time.sleep(self.pause)
        return super().loss(x)
'''


def missing_plugins() -> list[str]:
    return [name for name in PLUGINS if not ((EXTRAS / name).is_dir() or find_spec(name))]


def slow_copy(target: Path) -> Path:
    """A copy of the code whose suite is one training that lasts."""
    copy_code(target)
    (target / "slow").touch()
    (target / "slow_models.py").write_text(SLOW_MODEL, encoding="utf-8")
    experiment = f"experiments.{EXPERIMENT}"
    slow = {
        "suite": "smoke",
        "suites.smoke": [EXPERIMENT],
        "models.slow": {"family": "slow_models:SlowVAE"},
        f"{experiment}.models": ["slow"],
        f"{experiment}.seeds": [0],
        f"{experiment}.control": None,
        "training.smoke.epochs": EPOCHS,
        "training.smoke.patience": EPOCHS,
    }
    change(target, slow)
    return target


class Workflow:
    """Snakemake at work in a copy, on the cluster."""

    def __init__(self, folder: Path, profile: str, *arguments: str) -> None:
        self.folder = folder
        self.log = folder / "snakemake.txt"
        environment = {**os.environ, "PYTHONPATH": str(EXTRAS)}
        profile_options = ("--workflow-profile", f"profiles/{profile}", "--latency-wait", "10")
        command = [sys.executable, "-m", "snakemake", *profile_options, *arguments]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def finish(self, seconds: float = 500) -> str:
        """Wait for its end and return what it said."""
        assert self.process.wait(seconds) == 0, self.log.read_text()
        return self.log.read_text()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def jobs(self) -> dict[str, dict[str, str]]:
        """What Slurm knows of its jobs, by rule and wildcards; of a retried job, the last."""
        found = {}
        for job in slurm.slurm_jobs():
            if job["WorkDir"] == str(self.folder):
                found[job.get("Comment", job["JobName"])] = job
        return found

    def states(self) -> list[str]:
        """The states of its jobs, in the order of submission."""
        all_jobs = sorted(slurm.slurm_jobs(), key=lambda job: int(job["JobId"]))
        return [job["JobState"] for job in all_jobs if job["WorkDir"] == str(self.folder)]

    def training(self) -> Path | None:
        """The scratch folder of a training that has begun."""
        return next(iter(path.parent for path in self.folder.glob("scratch/runs/*/lock")), None)

    def run_file(self, name: str) -> Path:
        return self.folder / f"results/runs/{EXPERIMENT}/slow/seed0" / name


MARK = 123456.0


def mark(state: Path, *, finished: bool = False) -> None:
    """Leave a mark in a saved state, which a training that goes on from it takes over."""
    metadata = files.read_tensors_header(state)
    record = json.loads(metadata["record"])
    assert record["epoch"] == EPOCHS if finished else 0 < record["epoch"] < EPOCHS
    record["history"][0]["train_total"] = MARK
    metadata["record"] = json.dumps(record)
    files.write_tensors(state, files.read_tensors(state), metadata)


def history(workflow: Workflow) -> list[dict[str, str]]:
    with open(workflow.run_file("history.csv"), encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Path]:
    reason = slurm.reason_to_skip()
    if reason is None and missing_plugins():
        reason = f"{', '.join(missing_plugins())} not found: install the extra `slurm`"
    if reason is not None:
        pytest.skip(reason)
    with slurm.loopback_slurm(tmp_path_factory.mktemp("slurm") / "daemons") as folder:
        yield folder


@pytest.fixture(scope="module")
def workflows(cluster, tmp_path_factory) -> Iterator[Mapping[str, Workflow]]:
    """All workflows at once, since most of their time is waiting.

    Of one, the training is cancelled, of another it is preempted, and of one it has finished
    when Slurm ends its job; their states are marked.
    """
    place = tmp_path_factory.mktemp("workflows")
    often = ("--slurm-init-seconds-before-status-checks", "1")
    started: dict[str, Workflow] = {}
    try:
        for name, partition in (("cancelled", "held"), ("preempted", "spare")):
            resources = ("--default-resources", f"slurm_partition={partition}")
            folder = slow_copy(place / name)
            started[name] = Workflow(folder, "slurm", *often, *resources, "--", "train_all")
        started["limited"] = Workflow(
            slow_copy(place / "limited"),
            "generic",
            *("--seconds-between-status-checks", "1"),
            *("--default-resources", "partition=short", "gpu=0"),
            *("--set-resources", "train:gpu=1", "train:runtime=30 * attempt - 29"),
            *("--", "train_all"),
        )
        cancel(started["cancelled"])
        resources = ("--default-resources", "slurm_partition=held")
        folder = slow_copy(place / "finished")
        (folder / "slow").rename(folder / "lingers")
        started["finished"] = Workflow(folder, "slurm", *often, *resources, "--", "train_all")
        preempt(started["preempted"])
        smoke = copy_code(place / "smoke")
        began(started["limited"])
        open_partition("short", False)
        started["smoke"] = Workflow(smoke, "slurm", *often, "--config", "suite=smoke")
        overstay(started["finished"])
        yield started
    finally:
        for workflow in started.values():
            workflow.stop()


def cancel(workflow: Workflow) -> None:
    job, state = began(workflow)
    open_partition("held", False)
    slurm.command("scancel", job)
    stopped(workflow, state)
    open_partition("held", True)


def preempt(workflow: Workflow) -> None:
    _, state = began(workflow)
    urgent = ("--partition=urgent", "--exclusive", "--output=/dev/null")
    slurm.command("sbatch", *urgent, "--wrap", "sleep 2")
    stopped(workflow, state)  # Slurm lets the job wait for half a minute before it starts it again


def overstay(workflow: Workflow) -> None:
    """Let a training write its results and its job meet the time limit all the same."""
    slurm.wait_for("results", workflow.run_file("model.safetensors").exists)
    folder = workflow.training()
    slurm.wait_for("end of the training", lambda: is_free(folder / "lock"))
    mark(folder / "state.safetensors", finished=True)
    (workflow.folder / "slow").touch()  # to train again would take minutes
    (job,) = [job["JobId"] for job in workflow.jobs().values() if job["JobState"] == "RUNNING"]
    slurm.command("scontrol", "update", f"JobId={job}", "TimeLimit=1")


def open_partition(name: str, is_open: bool) -> None:
    """Let jobs start in a partition, or let them wait; those that run go on."""
    state = "UP" if is_open else "DOWN"
    slurm.command("scontrol", "update", f"PartitionName={name}", f"State={state}")


def began(workflow: Workflow) -> tuple[str, Path]:
    """Wait for the training; return its number in Slurm and the state that it will save."""
    folder = slurm.wait_for("start of the training", workflow.training)
    time.sleep(3)  # some epochs
    (job,) = [job["JobId"] for job in workflow.jobs().values() if job["JobState"] == "RUNNING"]
    return job, folder / "state.safetensors"


def stopped(workflow: Workflow, state: Path) -> None:
    """Wait for the end of the training, mark its state, and let the next try be quick."""
    slurm.wait_for("end of the job", lambda: "RUNNING" not in workflow.states())
    slurm.wait_for("saved state", state.exists)
    slurm.wait_for("end of the process", lambda: is_free(state.with_name("lock")))
    mark(state)
    (workflow.folder / "slow").unlink()


@pytest.fixture(scope="module")
def smoke(workflows) -> Workflow:
    workflows["smoke"].finish()
    return workflows["smoke"]


def is_free(lock: Path) -> bool:
    """Whether no process holds a lock."""
    with open(lock) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


# --- without a cluster --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["slurm", "generic"])
def test_profile_has_no_cap_and_asks_for_one_gpu(name):
    profile = yaml.safe_load((PROFILES / name / "config.yaml").read_text(encoding="utf-8"))
    local = yaml.safe_load((PROFILES / "default/config.yaml").read_text(encoding="utf-8"))
    assert local["resources"] == {"gpu": 1} and "resources" not in profile
    gpus = {rule: needed["gpu"] for rule, needed in profile["set-resources"].items()}
    assert gpus == dict.fromkeys(("train", "sample", "evaluate", "extractor"), 1)
    for key in ("max-checksum-file-size", "rerun-incomplete"):
        assert profile[key] == local[key]
    assert profile["retries"] >= 1


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("COMPLETED", "success"),
        ("PENDING", "running"),
        ("RUNNING", "running"),
        ("COMPLETING", "running"),
        ("SUSPENDED", "running"),
        ("CANCELLED", "failed"),
        ("TIMEOUT", "failed"),
        ("OUT_OF_MEMORY", "failed"),
        ("PREEMPTED", "failed"),
        ("slurm_load_jobs error: Unable to contact slurm controller", "running"),
        ("slurm_load_jobs error: Invalid job id specified", "failed"),
    ],
)
def test_status_of_a_job(tmp_path, state, expected):
    answer = state if " " in state else f"JobId=7 JobName=x JobState={state} Reason=None"
    fake = tmp_path / "scontrol"
    status = 1 if " " in state else 0
    fake.write_text(f"#!/bin/sh\necho '{answer}'\nexit {status}\n")
    fake.chmod(0o755)
    (tmp_path / "sacct").symlink_to("/bin/false")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    script = PROFILES / "generic/status.sh"
    assert subprocess.check_output([script, "7"], env=environment, text=True) == f"{expected}\n"


# --- a training that is stopped -----------------------------------------------------------


def test_cancelled_training_is_retried_and_goes_on(workflows):
    workflow = workflows["cancelled"]
    said = workflow.finish()
    assert "'CANCELLED'" in said and "Trying to restart" in said
    assert workflow.states() == ["COMPLETED", "CANCELLED", "COMPLETED"]  # the first prepares
    assert_went_on(workflow)


def test_preempted_training_goes_back_to_the_queue_and_goes_on(workflows):
    workflow = workflows["preempted"]
    workflow.finish()
    (job,) = [job for job in workflow.jobs().values() if "train" in job["Comment"]]
    assert job["JobState"] == "COMPLETED" and job["Restarts"] == "1"
    assert_went_on(workflow)


def assert_went_on(workflow: Workflow) -> None:
    rows = history(workflow)
    assert float(rows[0]["train_total"]) == MARK  # taken over from the saved state
    assert len(rows) == EPOCHS
    (state,) = workflow.folder.glob("scratch/runs/*/state.safetensors")  # until it is sampled
    assert json.loads(files.read_tensors_header(state)["record"])["epoch"] == EPOCHS


def test_finished_training_whose_job_failed_is_not_done_again(workflows):
    """Snakemake has removed its results; they are written again from the final state."""
    workflow = workflows["finished"]
    slurm.wait_for("time limit", lambda: "TIMEOUT" in workflow.states())
    (workflow.folder / "lingers").unlink()
    said = workflow.finish()
    assert "'TIMEOUT'" in said and "Trying to restart" in said
    assert workflow.states() == ["COMPLETED", "TIMEOUT", "COMPLETED"]
    assert_went_on(workflow)


def test_weights_are_those_of_an_undisturbed_training(workflows, tmp_path):
    """The same training by hand, without pauses."""
    names = ("cancelled", "preempted", "finished")
    for name in names:
        workflows[name].finish()
    folder = workflows["cancelled"].folder
    config = configurations.config(
        "train", parameters.load(folder / "params.yaml"), EXPERIMENT, "slow", 0
    )
    config["model"]["pause"] = 0.0
    (tmp_path / "data").symlink_to(folder / "data")
    options = (*RUN, "--root", str(tmp_path), "--device", "cpu", "--config", json.dumps(config))
    done = call(folder, "t3vae", "train", *options)
    assert done.returncode == 0, done.stderr
    by_hand = tmp_path / f"results/runs/{EXPERIMENT}/slow/seed0/model.safetensors"
    expected = files.read_tensors(by_hand)
    for name in names:
        found = files.read_tensors(workflows[name].run_file("model.safetensors"))
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value)


def test_sigterm_of_the_cluster_ends_with_143(workflows, tmp_path):
    """The status of the training itself, which Slurm and Snakemake do not pass on."""
    workflow = workflows["preempted"]
    workflow.finish()
    for name in ("data", "params.yaml", "slow_models.py"):
        (tmp_path / name).symlink_to(workflow.folder / name)
    (tmp_path / "slow").touch()
    (tmp_path / "job.sh").write_text(
        f"#!/bin/sh\nexport PYTHONPATH={workflow.folder}/src:{tmp_path} OMP_NUM_THREADS=1\n"
        f"srun {sys.executable} -m t3vae train {' '.join(RUN)} --device cpu\n"
        "echo $? > status\n"
    )
    place = (f"--chdir={tmp_path}", "--output=/dev/null", "--mem=1000")
    job = slurm.command("sbatch", "--parsable", *place, str(tmp_path / "job.sh")).strip()
    locks = tmp_path / "scratch/runs"
    (lock,) = slurm.wait_for("start of the training", lambda: list(locks.glob("*/lock")))
    time.sleep(1)
    slurm.command("scancel", "--signal=TERM", job)  # the training gets it, the script does not
    status = tmp_path / "status"
    assert slurm.wait_for("status", lambda: status.exists() and status.read_text()) == "143\n"
    assert lock.with_name("state.safetensors").exists()
    assert not (tmp_path / "results").exists()


# --- the smoke suite ----------------------------------------------------------------------


def test_smoke_suite_completes(smoke):
    """Recorded as a local run records it: nothing to do afterwards, and all is well."""
    assert jobs(smoke.folder, "--config", "suite=smoke") == set()
    change(smoke.folder, {"suite": "smoke"})
    done = call(smoke.folder, "t3vae", "check", "--records")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 stale, 0 missing, 0 orphaned, 0 unrecorded" in done.stdout
    assert not list(smoke.folder.glob("scratch/runs/*"))


def of_rule(workflow: Workflow, rule: str) -> list[dict[str, str]]:
    return [job for comment, job in workflow.jobs().items() if comment.startswith(f"rule_{rule}_")]


def test_light_rules_stay_local(smoke):
    plan = Plan(parameters.load(smoke.folder / "params.yaml", overrides={"suite": "smoke"}))
    counts = Counter(job.verb for job in plan.jobs() if job.verb not in LIGHT)
    assert {verb: len(of_rule(smoke, verb)) for verb in counts} == counts
    assert len(smoke.jobs()) == counts.total() < len(plan.jobs())


@pytest.mark.parametrize("rule", ["train", "sample", "evaluate", "extractor"])
def test_one_gpu_each(smoke, rule):
    for job in of_rule(smoke, rule):
        assert job["TresPerJob"] == "gres:gpu:1"
        assert re.fullmatch(r"cpu=1,mem=\d+[MG],node=1,billing=1", job["TRES"])
        assert job["TimeLimit"] not in ("00:01:00", "1-00:00:00", "UNLIMITED")  # that of the rule


def test_preparing_asks_for_no_gpu(smoke):
    assert not [job for job in of_rule(smoke, "prepare") if "TresPerJob" in job]


def test_trainings_are_not_limited_by_the_local_cap(smoke):
    spans = [(job["StartTime"], job["EndTime"]) for job in of_rule(smoke, "train")]
    at_once = [sum(start <= begin < end for start, end in spans) for begin, _ in spans]
    assert 1 < max(at_once) <= 4  # nodes of the partition have four GPUs in all


def test_several_nodes_work(smoke):
    assert {job["NodeList"] for job in of_rule(smoke, "train")} == {"first", "second"}


# --- the generic profile ------------------------------------------------------------------


def test_training_beyond_the_time_limit(workflows):
    workflow = workflows["limited"]
    folder = workflow.training()
    slurm.wait_for("time limit", lambda: "TIMEOUT" in workflow.states())
    stopped(workflow, folder / "state.safetensors")
    open_partition("short", True)
    workflow.finish()
    assert workflow.states() == ["COMPLETED", "TIMEOUT", "COMPLETED"]
    assert_went_on(workflow)
    tries = [job for name, job in workflow.jobs().items() if "train" in name]
    assert {job["TresPerJob"] for job in tries} == {"gres:gpu:1"}
    assert {job["TimeLimit"] for job in tries} == {"00:31:00"}  # the second try had more
