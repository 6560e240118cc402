"""The log's queue never blocks the code that logs, and reports what it dropped."""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import resource
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

import pytest
import structlog

from bridge.log_events import LOG_LINES_DROPPED
from bridge.observability import log_config, log_queue
from bridge.observability.log_queue import FLUSH_TIMEOUT_SECONDS, MAX_LINES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("log_config_restored")
log = structlog.get_logger(__name__)

#: What the pipe of a test holds, and a text of more: a line that blocks the thread.
PIPE_BYTES = 4096
LONG = "x" * 7000


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """Return the reading end of a pipe, and a stream that writes to it."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    os.close(reading)


def log_to(stream: TextIO, monkeypatch: pytest.MonkeyPatch) -> logging.Handler:
    """Configure logging with a stream as standard error; return the handler."""
    monkeypatch.setattr(sys, "stderr", stream)
    log_config.configure("INFO", "json")
    return logging.getLogger().handlers[-1]


def read(descriptor: int, until: str) -> list[dict[str, Any]]:
    """Return what is logged to a pipe, up to an event."""
    text = ""
    while True:
        text += os.read(descriptor, 1 << 20).decode()
        if text.endswith("\n") and (lines := [json.loads(line) for line in text.splitlines()])[-1]["event"] == until:
            return lines


def events(lines: list[dict[str, Any]]) -> list[str]:
    return [line["event"] for line in lines]


@pytest.mark.parametrize("blocking", [True, False])
def test_lines_are_written_as_they_are_logged(
    blocking: bool,  # noqa: FBT001 - a parameter of the test
    pipe: tuple[int, TextIO],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reader sees each line at once, in order and whole, even if another process made the pipe non-blocking."""
    reading, stream = pipe
    os.set_blocking(stream.fileno(), blocking)
    log_to(stream, monkeypatch)
    for event in ("one", "two: ü", LONG):
        log.info(event)
        assert events(read(reading, event)) == [event]


def test_a_blocked_stream_delays_nothing_and_loses_no_queued_line(
    pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines wait for the reader, with the time at which they were logged; the others are dropped, and counted."""
    monkeypatch.setattr(log_queue, "MAX_LINES", 10)
    reading, stream = pipe
    log_to(stream, monkeypatch)
    log.info(LONG)
    assert os.read(reading, 1) == b"{"  # the thread has it, and the queue is empty
    for number in range(50):
        log.info(str(number))
    logged_at = datetime.now(UTC)
    with os.fdopen(os.dup(reading)) as lines:
        assert LONG in lines.readline()
        kept = [json.loads(lines.readline()) for _ in range(10)]
    assert events(kept) == [str(number) for number in range(10)]
    assert datetime.fromisoformat(kept[-1]["timestamp"]) < logged_at
    log.info("found")
    report, _ = read(reading, "found")
    assert (report["event"], report["level"], report["lines"]) == (LOG_LINES_DROPPED, "warning", 40)
    log.info("more")
    assert events(read(reading, "more")) == ["more"]


def test_a_flush_waits_for_a_blocked_stream_no_longer_than_its_timeout(
    pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So an exit does not hang; with a stream that is read, all is written when it returns."""
    monkeypatch.setattr(log_queue, "FLUSH_TIMEOUT_SECONDS", 0.05)
    reading, stream = pipe
    handler = log_to(stream, monkeypatch)
    log.info("one")
    handler.flush()
    assert json.loads(os.read(reading, 1000))["event"] == "one"
    log.info(LONG)
    began = time.monotonic()
    handler.flush()
    assert 0.05 <= time.monotonic() - began < 10
    assert events(read(reading, LONG)) == [LONG]


def test_lines_without_a_reader_are_reported_once_there_is_one(
    pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken pipe is no error of the program that logs."""
    reading, stream = pipe
    gone, writing = os.pipe()
    os.close(gone)
    with os.fdopen(writing, "w") as broken:
        handler = log_to(broken, monkeypatch)
        log.info("lost")
        log.info("lost")
        handler.flush()
        os.dup2(stream.fileno(), broken.fileno())
        log.info("found")
        handler.flush()
        log.info("more")
        found, report, more = read(reading, "more")
    assert (found["event"], report["event"], report["lines"]) == ("found", LOG_LINES_DROPPED, 2)
    assert more["event"] == "more"


def test_a_line_cut_by_a_full_disk_is_terminated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next line starts on a new line, once there is room again."""
    path = tmp_path / "log"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with path.open("w") as file:
        handler = log_to(file, monkeypatch)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (6, limits[1]))
            log.info("lost")
            handler.flush()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        log.info("found")
        handler.flush()
    cut, found = path.read_text().splitlines()
    assert cut == '{"time'
    assert json.loads(found)["event"] == "found"


def test_a_stream_that_is_no_file_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in ``dev``; a closed one loses its lines and has no other effect."""
    stream = io.StringIO()
    handler = log_to(stream, monkeypatch)
    log.info("line")
    handler.flush()
    assert json.loads(stream.getvalue())["event"] == "line"
    stream.close()
    log.info("lost")
    handler.flush()


def test_a_closed_handler_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was logged before is written, then the thread ends."""
    before = set(threading.enumerate())
    stream = io.StringIO()
    handler = log_to(stream, monkeypatch)
    (thread,) = set(threading.enumerate()) - before
    log.info("last")
    handler.close()
    thread.join(10)
    assert not thread.is_alive()
    assert json.loads(stream.getvalue())["event"] == "last"


def process(program: str, stderr: int) -> subprocess.Popen[str]:
    """Start a program that logs to a pipe."""
    setup = "import logging, sys\nfrom bridge.observability.log_config import configure\nconfigure('INFO', 'json')\n"
    return subprocess.Popen(
        [sys.executable, "-c", setup + program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def test_a_process_reports_how_many_lines_were_dropped(pipe: tuple[int, TextIO]) -> None:
    """No call to the logger waits for the reader, and every line is written or counted."""
    reading, stream = pipe
    program = (
        f"for number in range({MAX_LINES} + 2000):\n"
        "    logging.warning(number)\n"
        "print('logged', flush=True)\n"
        "sys.stdin.readline()\n"
        "logging.warning('last')\n"
    )
    with process(program, stream.fileno()) as run, os.fdopen(os.dup(reading)) as written:
        assert run.stdin is not None
        assert run.stdout is not None
        assert run.stdout.readline() == "logged\n"
        lines = [json.loads(written.readline()) for _ in range(MAX_LINES)]  # in the queue; the pipe held more
        run.stdin.write("\n")
        run.stdin.flush()
        while lines[-1]["event"] != "last":
            lines.append(json.loads(written.readline()))
        assert run.wait() == 0
    reports = [line["lines"] for line in lines if line["event"] == LOG_LINES_DROPPED]
    numbers = [int(line["event"]) for line in lines if line["event"] not in {LOG_LINES_DROPPED, "last"}]
    assert numbers == sorted(numbers)
    assert len(reports) == 1
    assert len(numbers) + sum(reports) == MAX_LINES + 2000


def test_a_process_whose_log_is_blocked_exits_with_its_exit_code(pipe: tuple[int, TextIO]) -> None:
    """Within the flush's timeout, though a thread hangs in a write."""
    _, stream = pipe
    with process(f"logging.warning({LONG!r})\nsys.exit(7)", stream.fileno()) as run:
        assert run.wait(timeout=FLUSH_TIMEOUT_SECONDS + 20) == 7
