"""Logs are JSON objects, one per line on standard error, from our loggers and libraries, without secrets."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest
import structlog

from bridge.observability.log_config import configure
from bridge.observability.log_limit import MAX_LINE_BYTES
from bridge.secrets.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("log_config_restored")
SECRET = 'hunter22/"ü'
SENTENCE = f"token {SECRET}"


def flush() -> None:
    """Wait until what was logged is written."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return what was logged; assert that nothing was written to standard output."""
    flush()
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_an_event_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    """Timestamp in UTC, level, logger and event come first, then the fields."""
    configure("INFO", "json")
    structlog.get_logger("bridge.aries.client").info("connected", url="ws://x", attempts=3, delays=(0.5, float("nan")))
    (event,) = lines(capsys)
    stamp = datetime.fromisoformat(event.pop("timestamp"))
    assert abs(datetime.now(UTC) - stamp) < timedelta(minutes=5)
    assert list(event.items()) == [
        ("level", "info"),
        ("severity", "INFO"),
        ("logger", "bridge.aries.client"),
        ("event", "connected"),
        ("url", "ws://x"),
        ("attempts", 3),
        ("delays", [0.5, "nan"]),
    ]


def test_libraries_log_in_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Records of libraries, asyncio and warnings have the same form, from WARNING on."""
    configure("INFO", "json")
    for name in ("aiokafka.producer", "websockets.client", "asyncio"):
        logging.getLogger(name).info("not %s", "this")
        logging.getLogger(name).warning("lost %s of %d", "one", 2)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    events = lines(capsys)
    assert [(event["logger"], event["level"], event["event"]) for event in events[:3]] == [
        ("aiokafka.producer", "warning", "lost one of 2"),
        ("websockets.client", "warning", "lost one of 2"),
        ("asyncio", "warning", "lost one of 2"),
    ]
    assert "DeprecationWarning: old" in events[3]["event"]
    assert all("timestamp" in event for event in events)


@pytest.mark.parametrize(
    ("level", "own", "libraries"),
    [
        ("DEBUG", ["debug", "info", "warning", "error"], ["info", "warning", "error"]),
        ("INFO", ["info", "warning", "error"], ["warning", "error"]),
        ("WARNING", ["warning", "error"], ["warning", "error"]),
        ("ERROR", ["error"], ["error"]),
        ("CRITICAL", [], []),
    ],
)
def test_levels_are_applied(
    capsys: pytest.CaptureFixture[str], level: str, own: list[str], libraries: list[str]
) -> None:
    """Libraries never log below INFO, where they would print frames and requests with credentials."""
    configure(level, "json")
    for name in ("bridge.aries.client", "websockets.client", "botocore.auth"):
        for method in ("debug", "info", "warning", "error"):
            getattr(structlog.get_logger(name), method)("x")
    events = lines(capsys)
    assert [event["level"] for event in events if event["logger"] == "bridge.aries.client"] == own
    for name in ("websockets.client", "botocore.auth"):
        assert [event["level"] for event in events if event["logger"] == name] == libraries


def test_the_severity_is_named_as_in_google_cloud(capsys: pytest.CaptureFixture[str]) -> None:
    """Each level has its severity, whoever logs; one that no other program knows has none of its own."""
    configure("DEBUG", "json")
    log = structlog.get_logger("bridge")
    for method in ("debug", "info", "warning", "error", "critical"):
        getattr(log, method)("x")
    logging.getLogger("aiokafka").error("x")
    logging.getLogger("aiokafka").log(35, "y")
    severities = [event["severity"] for event in lines(capsys)]
    assert severities == ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "ERROR", "DEFAULT"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_line_has_a_limit(capsys: pytest.CaptureFixture[str], log_format: Literal["json", "console"]) -> None:
    """A list, a text and a traceback without end are cut, and the line says so."""
    configure("INFO", log_format)
    log = structlog.get_logger("bridge")
    log.info("subscribed", symbols=7, refused=[f"SYMBOL{number}" for number in range(10_000)])
    logging.getLogger("aiokafka").warning("answer %s", "x" * 100_000)
    try:
        recurse(200)
    except ValueError:
        log.exception("failed")
    flush()
    written = capsys.readouterr().err
    if log_format == "console":
        assert len(written) < 3 * 1.2 * MAX_LINE_BYTES
        assert "refused: 9" in written
        return
    subscribed, answer, failed = written.splitlines(keepends=True)
    assert all(len(line.encode()) <= MAX_LINE_BYTES for line in (subscribed, answer, failed))
    event = json.loads(subscribed)
    assert event["symbols"] == 7
    assert event["refused"][0] == "SYMBOL0"
    assert event["left_out"] == [f"refused: {10_000 - len(event['refused'])} items"]
    assert json.loads(answer)["event"].startswith("answer xxx")
    frames = json.loads(failed)["exception"][0]["frames"]
    assert frames[-1]["name"] == "recurse"
    assert frames[0]["name"] == "test_a_line_has_a_limit"


def recurse(depth: int) -> None:
    """Raise an error from many frames, with a long text."""
    if not depth:
        raise ValueError("y" * 100_000)
    recurse(depth - 1)


def fail() -> None:
    """Raise an error caused by another, with a secret among the local variables."""
    token = SECRET
    try:
        token[len(token)]
    except IndexError as error:
        raise ExceptionGroup("several", [ValueError(f"bad {token}")]) from error


def test_an_exception_is_structured_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Type, text and frames are in fields; local variables and secrets are not."""
    configure("INFO", "json", [Secret.fixed("TOKEN", SECRET)])
    try:
        fail()
    except ExceptionGroup:
        structlog.get_logger().exception("failed")
        logging.getLogger("aiokafka").exception("failed, too")
    for event in lines(capsys):
        group, cause = event["exception"]
        assert group["exc_type"] == "ExceptionGroup"
        assert group["frames"][-1]["name"] == "fail"
        assert group["exceptions"][0][0]["exc_value"] == "bad ***"
        assert cause["exc_type"] == "IndexError"
        assert SECRET not in str(event)
        assert "locals" not in group["frames"][-1]


def test_secrets_are_redacted_wherever_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """In events, fields, nested values, keys, bytes, objects, URLs, JSON and arguments of library loggers."""
    configure("INFO", "json", [Secret.fixed("TOKEN", SECRET)])
    log = structlog.get_logger().bind(bound=SECRET)
    log.warning(
        SENTENCE,
        nested={"list": [SECRET, {SECRET: (SECRET,)}], "set": {SECRET}},
        url="https://x/?t=hunter22%2F%22%C3%BC",
        body=json.dumps({"token": SECRET}),
        raw=SECRET.encode(),
        error=ValueError(SECRET),
        secret=Secret.fixed("TOKEN", SECRET),
        count=7,
    )
    logging.getLogger("websockets").warning("sent %s", SECRET)
    flush()
    out = capsys.readouterr().err
    assert "hunter22" not in out
    event = json.loads(out.splitlines()[0])
    assert event["event"] == "token ***"
    assert event["nested"] == {"list": ["***", {"***": ["***"]}], "set": ["***"]}
    assert event["count"] == 7


def test_a_secret_from_a_file_is_redacted_old_and_new(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Both contents of a changed file are secrets; a deleted file breaks no log call."""
    path = tmp_path / "token"
    path.write_text("old-token")
    configure("INFO", "json", [Secret.in_file("TOKEN", path)])
    structlog.get_logger().info("old-token")
    path.write_text("new-token\n")
    structlog.get_logger().info("new-token after old-token")
    path.unlink()
    structlog.get_logger().info("new-token again")
    assert [event["event"] for event in lines(capsys)] == ["***", "*** after ***", "*** again"]


def test_console_lines_are_readable(capsys: pytest.CaptureFixture[str]) -> None:
    """With a plain traceback, without colours if standard error is no terminal, without secrets."""
    configure("INFO", "console", [Secret.fixed("TOKEN", SECRET)])
    try:
        fail()
    except ExceptionGroup:
        structlog.get_logger("bridge").exception("failed", token=SECRET)
    flush()
    err = capsys.readouterr().err
    assert "failed" in err.splitlines()[0]
    assert "Traceback (most recent call last):" in err
    assert "\x1b[" not in err
    assert "hunter22" not in err


def test_configuring_again_replaces_the_handler(capsys: pytest.CaptureFixture[str]) -> None:
    """The latest configuration applies, and each event is logged once."""
    configure("INFO", "console")
    configure("WARNING", "json")
    structlog.get_logger().info("no")
    structlog.get_logger().warning("yes")
    assert [event["event"] for event in lines(capsys)] == ["yes"]


def test_a_process_logs_to_standard_error() -> None:
    """Its logs are JSON on standard error, and nothing is written to standard output."""
    program = (
        "import asyncio, logging\n"
        "from bridge.observability.log_config import configure\n"
        "configure('INFO', 'json')\n"
        "async def main():\n"
        "    asyncio.get_running_loop().call_exception_handler({'message': 'lost task'})\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["event"] == "lost task"
    assert json.loads(line)["logger"] == "asyncio"


@pytest.mark.parametrize(("no_color", "colored"), [("1", False), ("", True), (None, True)])
def test_the_console_has_no_colors_where_none_are_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, no_color: str | None, *, colored: bool
) -> None:
    """``NO_COLOR`` is honoured on a terminal, as no-color.org asks: if it is set and not empty."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure("INFO", "console")
    structlog.get_logger().warning("something")
    flush()
    assert ("\x1b[" in capsys.readouterr().err) == colored
