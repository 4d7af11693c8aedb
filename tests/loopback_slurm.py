"""A real Slurm of four nodes on this machine: made for a test, stopped and removed after it.

The commands that Slurm's own ``srun`` starts look for the configuration in ``/etc/slurm``
alone, so that it must be there; a configuration that is not ours is never touched.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ETC = Path("/etc/slurm")
PIDS = Path(
    "/run/t3vae-slurm"
)  # outside the folder of a test, which may be gone before the daemons
OURS = "# loopback cluster of the tests of t3vae, in "
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scontrol", "scancel")
NODES = ("first", "second", "third", "fourth")
GPUS = ("/dev/null", "/dev/zero")  # of each node; none is one: Slurm only counts

CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=30
CryptoType=crypto/munge
SlurmctldPidFile={pids}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={pids}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
KillWait=5
MinJobAge=900
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=1
GresTypes=gpu
{nodes}
PartitionName=main Nodes=first,second Default=YES MaxTime=1440 State=UP
PartitionName=held Nodes=third MaxTime=1440 State=UP
PartitionName=short Nodes=third MaxTime=1440 State=UP
PartitionName=spare Nodes=fourth MaxTime=1440 PriorityTier=1 State=UP
PartitionName=urgent Nodes=fourth MaxTime=1440 PriorityTier=9 PreemptMode=OFF State=UP
"""


def reason_to_skip() -> str | None:
    """Say why the cluster cannot be had on this machine, or return None."""
    missing = [name for name in PROGRAMS if not find(name)]
    if missing:
        return f"{', '.join(missing)} not found: apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "slurmd must be started by root"
    for name in ("slurm.conf", "gres.conf"):
        path = ETC / name
        if path.exists() and not path.read_text().startswith(OURS):
            return f"{path} belongs to another cluster"
    return None


def find(program: str) -> str | None:
    """Return the path of a program, daemons included."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def command(*arguments: str, check: bool = True) -> str:
    """Run a command of Slurm and return what it prints."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


def wait_for(what: str, condition, seconds: float = 180.0, interval: float = 0.2):
    """Return the first true value of a condition; fail when there is none in time."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(interval)


def slurm_jobs() -> list[dict[str, str]]:
    """Return the fields of every job that Slurm remembers."""
    lines = command("scontrol", "--oneliner", "show", "job").splitlines()
    return [dict(re.findall(r"(?:^| )([A-Za-z/:]+)=(\S*)", line)) for line in lines if "=" in line]


@contextmanager
def loopback_slurm(folder: Path) -> Iterator[Path]:
    """Run a cluster whose files lie in a folder."""
    with open("/run/lock/t3vae-slurm", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time on a machine
        _stop()  # what a test left that was killed
        with _munge():
            try:
                _start(folder)
                yield folder
            finally:
                _stop()


def _start(folder: Path) -> None:
    PIDS.mkdir(exist_ok=True)
    (folder / "state").mkdir(parents=True)
    for node in NODES:
        (folder / f"spool-{node}").mkdir()
    host = socket.gethostname().split(".")[0]
    port, *ports = _free_ports(1 + len(NODES))
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port_of_node} "
        f"CPUs=8 RealMemory=48000 Gres=gpu:{len(GPUS)}"
        for node, port_of_node in zip(NODES, ports, strict=True)
    )
    values = {"host": host, "folder": folder, "pids": PIDS, "port": port, "nodes": nodes}
    gpus = "".join(f"NodeName={n} Name=gpu File={file}\n" for n in NODES for file in GPUS)
    ETC.mkdir(exist_ok=True)
    (ETC / "gres.conf").write_text(f"{OURS}{folder}\n{gpus}")
    (ETC / "slurm.conf").write_text(f"{OURS}{folder}\n{CONFIGURATION.format(**values)}")
    command(find("slurmctld"))
    for node in NODES:
        command(find("slurmd"), "-N", node)
    states = ("sinfo", "--noheader", "--Node", "--format=%N %T")
    idle = {f"{node} idle" for node in NODES}
    wait_for("idle nodes", lambda: set(command(*states, check=False).splitlines()) == idle, 30)


def _stop() -> None:
    configuration = ETC / "slurm.conf"
    if configuration.exists() and configuration.read_text().startswith(OURS):
        for job in command("squeue", "--noheader", "--format=%A", check=False).split():
            command("scancel", job, check=False)
        time.sleep(0.5)
    for name in ("slurmctld", *(f"slurmd-{node}" for node in NODES)):
        _kill(PIDS / f"{name}.pid")
    for name in ("slurm.conf", "gres.conf"):
        path = ETC / name
        if path.exists() and path.read_text().startswith(OURS):
            path.unlink()


def _kill(pid_file: Path) -> None:
    """End the daemon that a file names, if it is still that daemon."""
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return
    patience = 10.0
    for sign in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + patience
        if _is_daemon(pid):
            os.kill(pid, sign)
        while _is_daemon(pid) and time.monotonic() < end:
            time.sleep(0.05)


def _is_daemon(pid: int) -> bool:
    """Whether a process is alive and one of the daemons; a zombie is neither."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    name = re.search(r"^Name:\s*(\S+)", status, flags=re.MULTILINE)
    zombie = re.search(r"^State:\s*[ZX]", status, flags=re.MULTILINE)
    return bool(name and name[1] in ("slurmctld", "slurmd", "munged") and not zombie)


@contextmanager
def _munge() -> Iterator[None]:
    """Run munged, unless it runs already."""
    alive = ("munge", "--no-input")
    if subprocess.run(alive, capture_output=True, check=False).returncode == 0:
        yield
        return
    for path in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
        Path(path).mkdir(mode=0o755, exist_ok=True)
        shutil.chown(path, "munge", "munge")
    key = Path("/etc/munge/munge.key")
    if not key.exists():
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        shutil.chown(key, "munge", "munge")
    command("runuser", "-u", "munge", "--", find("munged"))
    try:
        yield
    finally:
        _kill(Path("/run/munge/munged.pid"))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
