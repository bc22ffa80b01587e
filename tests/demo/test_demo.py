"""The demo plays its whole story in processes of its own, as ``make demo HEADLESS=1`` does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATABASE = os.environ.get("DURABLE_TEST_DATABASE", "sqlite")
# Bounds for what hangs: how fast the machine is proves nothing.
STOP_SECONDS = 120
STORY_SECONDS = 400

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        DATABASE != "sqlite",
        reason=f"the demo brings its own SQLite file whatever the suite runs on, here {DATABASE}: "
        "these tests belong to the SQLite lane",
    ),
]


def test_headless_story_ends_right() -> None:
    with _demo("--headless") as demo:
        told, _ = demo.communicate(timeout=STORY_SECONDS)
    assert demo.returncode == 0, told
    assert "SIGKILL to process" in told
    assert "SIGKILL to the whole worker" in told
    assert "all is right" in told


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds child processes in Linux's /proc")
def test_sigterm_leaves_no_process_and_no_file_behind() -> None:
    with _demo() as demo:
        assert demo.stdout is not None
        shown = next(line for line in demo.stdout if line.strip().startswith("Logs"))
        folder = Path(shown.split()[-1])
        assert folder.exists()
        children = _children(demo.pid)
        assert len(children) == 3  # web server, worker, beat
        family = [*children, *(grandchild for child in children for grandchild in _children(child))]
        demo.send_signal(signal.SIGTERM)
        demo.wait(STOP_SECONDS)
    ends_at = time.monotonic() + STOP_SECONDS
    while any(_lives(pid) for pid in family):  # a killed grandchild needs a moment
        assert time.monotonic() < ends_at, [pid for pid in family if _lives(pid)]
        time.sleep(0.05)
    assert not folder.exists()


@contextmanager
def _demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``manage.py demo`` as a shell would: not with the settings module that pytest-django chose."""
    dropped = {"DJANGO_SETTINGS_MODULE", "CELERY_BROKER_URL", "DURABLE_DEMO_DIR"}
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    environment["DURABLE_DEMO_LIMIT_SECONDS"] = "300"
    command = [sys.executable, "manage.py", "demo", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        try:
            yield demo
        finally:
            if demo.poll() is None:
                demo.terminate()  # it ends its children first; killed, it could not
                try:
                    demo.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    demo.kill()


def _lives(pid: int) -> bool:
    """Not gone, and no zombie that nobody has collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
