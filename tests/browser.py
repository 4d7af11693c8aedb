"""A page in headless Chromium: what it asks for and what it complains about."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import threading
from pathlib import Path

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--enable-logging=stderr --window-size=1100,1400 --virtual-time-budget=5000"
).split()


class _Recorder(http.server.SimpleHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def visit(page: Path, profile: Path, screenshot: Path) -> tuple[list[str], list[str]]:
    """Return the paths that the page asks the server for, and its console messages."""
    assert BROWSER is not None
    asked: list[str] = []
    recorder = type("Recorder", (_Recorder,), {"asked": asked})
    handler = functools.partial(recorder, directory=str(page.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/{page.name}"
        done = subprocess.run(
            [
                BROWSER, *FLAGS, f"--user-data-dir={profile}", f"--screenshot={screenshot}",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", address,
            ],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        server.shutdown()
    assert done.returncode == 0, done.stderr
    return asked, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
