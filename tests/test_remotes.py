"""Push, clone and pull through a folder, SSH and S3. The servers are real and local."""

from __future__ import annotations

import getpass
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from copies import CHECKOUT
from dvc_repository import clone, commit, environment, nothing_to_do, run, small_repository

pytestmark = pytest.mark.workflow

EXTRAS = CHECKOUT / "build/extras"  # .ci/packages.sh installs there
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
KEYGEN = shutil.which("ssh-keygen")
GRACE = 2.0  # seconds for a server to end by itself


def lacking(*modules: str) -> list[str]:
    """Return which modules are neither installed nor in the overlay."""
    found = []
    for module in modules:
        there = (EXTRAS / module).is_dir() or importlib.util.find_spec(module) is not None
        found += [] if there else [module]
    return found


def overlay(**more: str) -> dict[str, str]:
    """The environment with the overlay's packages."""
    return {"PYTHONPATH": str(EXTRAS), **more} if EXTRAS.is_dir() else more


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A repository with a finished suite that has no model, made by `dvc repro` from nothing."""
    folder = small_repository(tmp_path_factory.mktemp("remotes") / "finished", suite="smoke")
    run(folder, "dvc", "repro", "--quiet")
    commit(folder, "results")
    return folder


@pytest.fixture
def origin(finished, tmp_path) -> Path:
    shutil.copytree(finished, tmp_path / "origin")
    return tmp_path / "origin"


def travels(origin: Path, configure: Callable[[Path], None], **more: str) -> Path:
    """Push to a remote, clone elsewhere, pull; all must be up to date there."""
    configure(origin)
    commit(origin, "remote")
    assert "files pushed" in run(origin, "dvc", "push", **more)
    copy = clone(origin, origin.parent / "elsewhere/clone")
    assert not (copy / "data").exists()
    local = origin / ".dvc/config.local"
    if local.exists():  # what everyone types again in a clone
        shutil.copy(local, copy / ".dvc/config.local")
    run(copy, "dvc", "pull", "--quiet", **more)
    assert nothing_to_do(copy)
    assert (copy / "results/report.html").read_bytes() == (
        origin / "results/report.html"
    ).read_bytes()
    return copy


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], **how: Any) -> Iterator[subprocess.Popen]:
    """Run a server; at the end, whatever it is, nothing of its process group is left."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **how)
    try:
        yield server
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(GRACE)
        with suppress(ProcessLookupError):  # also the connections that it still serves
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_for(port: int, server: subprocess.Popen, log: Path) -> None:
    """Wait until a server listens."""
    for _ in range(600):
        assert server.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"the server does not listen:\n{log.read_text()}")


def committed(folder: Path) -> str:
    """All that Git knows of the settings of DVC."""
    return run(folder, "git", "log", "--patch", "--all", "--", ".dvc", "dvc.yaml", "params.yaml")


# --- a folder -----------------------------------------------------------------------------


def test_folder(origin):
    def configure(folder: Path) -> None:
        store = str(origin.parent / "store")
        run(folder, "dvc", "remote", "add", "--default", "store", store)

    copy = travels(origin, configure)
    assert (origin.parent / "store/files/md5").is_dir()
    path = copy / "results/report.html"
    path.unlink()
    run(copy, "dvc", "checkout", "--quiet")
    assert path.is_file()


def test_what_a_remote_lost_is_named(origin):
    store = origin.parent / "store"
    run(origin, "dvc", "remote", "add", "--default", "store", str(store))
    commit(origin, "remote")
    run(origin, "dvc", "push", "--quiet")
    shutil.rmtree(store)
    copy = clone(origin, origin.parent / "elsewhere/clone")
    text = run(copy, "dvc", "pull", status=None)
    assert "results/report.html" in text and "Is your cache up to date?" in text


# --- SSH ----------------------------------------------------------------------------------

SSHD_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {home}/host_key
AuthorizedKeysFile {home}/authorized_keys
PidFile {home}/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitRootLogin prohibit-password
StrictModes no
MaxStartups 100
Subsystem sftp internal-sftp
"""


@pytest.fixture
def ssh(tmp_path) -> Iterator[tuple[int, Path]]:
    """An SSH server on loopback that knows one key; its port and the key."""
    if SSHD is None or KEYGEN is None:
        pytest.skip("no sshd: install openssh-server")
    if lacking("dvc_ssh"):
        pytest.skip("no dvc-ssh: run .ci/packages.sh, or install the extra `ssh`")
    home = tmp_path / "ssh"
    home.mkdir(mode=0o700)
    for name in ("host_key", "user_key"):
        command = [KEYGEN, "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    shutil.copy(home / "user_key.pub", home / "authorized_keys")
    port = free_port()
    (home / "sshd_config").write_text(SSHD_CONFIG.format(port=port, home=home))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd separates privileges
    log = home / "sshd.log"
    command = [SSHD, "-D", "-f", str(home / "sshd_config"), "-E", str(log)]
    with running(command) as server:
        wait_for(port, server, log)
        yield port, home / "user_key"


def test_ssh(origin, ssh):
    port, key = ssh
    place = f"ssh://127.0.0.1:{port}{origin.parent}/store"

    def configure(folder: Path) -> None:
        run(folder, "dvc", "remote", "add", "--default", "box", place)
        for name, value in (("user", getpass.getuser()), ("keyfile", str(key))):
            run(folder, "dvc", "remote", "modify", "--local", "box", name, value)

    copy = travels(origin, configure, **overlay())
    assert (origin.parent / "store/files/md5").is_dir()
    assert place in committed(copy) and "keyfile" not in committed(copy)


# --- S3 -----------------------------------------------------------------------------------

SECRET = "not-a-real-secret"


@pytest.fixture
def s3(tmp_path) -> Iterator[str]:
    """The address of an S3 server on loopback with one bucket."""
    if lacking("moto", "dvc_s3"):
        names = ", ".join(lacking("moto", "dvc_s3"))
        pytest.skip(f"no {names}: run .ci/packages.sh")
    port, log = free_port(), tmp_path / "moto.log"
    start = "import sys; from moto.server import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", start, "-H", "127.0.0.1", "-p", str(port)]
    own = environment(tmp_path / "moto", **overlay())
    with (
        open(log, "wb") as stream,
        running(command, env=own, stdout=stream, stderr=stream) as server,
    ):
        wait_for(port, server, log)
        address = f"http://127.0.0.1:{port}"
        bucket = urllib.request.Request(f"{address}/bucket", method="PUT")
        urllib.request.urlopen(bucket, timeout=60).close()
        yield address


def test_s3(origin, s3):
    secrets = (("endpointurl", s3), ("access_key_id", "test"), ("secret_access_key", SECRET))

    def configure(folder: Path) -> None:
        run(folder, "dvc", "remote", "add", "--default", "cloud", "s3://bucket/store")
        for name, value in secrets:
            run(folder, "dvc", "remote", "modify", "--local", "cloud", name, value)

    copy = travels(origin, configure, **overlay(AWS_DEFAULT_REGION="us-east-1"))
    assert "s3://bucket/store" in committed(copy) and SECRET not in committed(copy)
