"""``aries-bridge dev`` as a process: what it shows, and how it ends."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.support.http_proxy import DEAD_PROXIES
from tests.support.service import DEADLINE_SECONDS, by_symbol, control, environment, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bridge.kafka.embedded_broker import EmbeddedBroker


COMMAND = (sys.executable, "-W", "error", "-m", "bridge", "dev")


class Run:
    """A running command and its output so far."""

    def __init__(self, process: subprocess.Popen[bytes], output: int) -> None:
        self.text = ""
        self._process = process
        self._output = output

    def shows(self, pattern: str) -> None:
        """Wait until the output matches a pattern."""
        while not re.search(pattern, self.text):
            assert self._read(), f"it ended without {pattern!r}:\n{self.text}"

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self) -> int:
        """Wait for the end and return the exit code."""
        while self._read():
            pass
        return self._process.wait(DEADLINE_SECONDS)

    def _read(self) -> bool:
        try:
            data = os.read(self._output, 1 << 16)
        except OSError:  # Linux raises EIO when the other side of a pseudo terminal is closed
            return False
        self.text += data.decode()
        return bool(data)


@contextmanager
def dev(*arguments: str, environ: Mapping[str, str] | None = None, terminal: bool = False) -> Iterator[Run]:
    """Run the command with both of its outputs in a pipe, or on a pseudo terminal of 80 by 24."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    if terminal:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    env = {**kept, "TERM": "xterm-256color", "PYTHONUTF8": "1", **(environ or {})}
    process = subprocess.Popen((*COMMAND, *arguments), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    try:
        yield Run(process, ours)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        os.close(ours)


def amount(text: str, name: str) -> int:
    """Return an account's total in the summary."""
    found = re.search(rf"^  [=+ ]*{re.escape(name)} +([\d,]+)", text, re.MULTILINE)
    assert found is not None, f"no {name!r} in:\n{text}"
    return int(found[1].replace(",", ""))


def assert_clean(text: str) -> None:
    """Check that a summary adds up and reports no loss."""
    assert "drained, nothing lost" in text
    assert "The accounts add up" in text
    ends = ("published", "filtered", "dead-lettered", "conflated", "dropped", "undelivered")
    split = amount(text, "split") if "+ split" in text else 0
    assert amount(text, "lines read") + split == sum(amount(text, name) for name in ends)
    assert amount(text, "undelivered") == amount(text, "dropped") == 0
    for name, count, read_back in re.findall(
        r"^ +(aries\.\S+|beside.*?) +([\d,]+) +read back.*: ([\d,]+)$", text, re.MULTILINE
    ):
        assert count == read_back, name
    assert "Traceback" not in text
    assert "Warning" not in text


def test_without_settings_all_that_is_sent_is_read_back() -> None:
    """In plain mode it shows each topic, stops after its time, and Kafka holds what the simulator sent."""
    with dev("--plain", "--seconds", "3", "--rate", "300") as run:
        assert run.ended() == 0
    assert_clean(run.text)
    assert "as many as the simulator sent" in run.text
    assert re.search(r"^-- \d.*Status page: http://127.0.0.1:[1-9]\d*/$", run.text, re.MULTILINE)
    assert amount(run.text, "lines read") > 300
    assert len(re.findall(r"^-- \d", run.text, re.MULTILINE)) >= 2
    for topic in set(Topic) - {Topic.DLQ}:
        assert re.search(rf"^aries\.{topic} +[1-9][\d,]* +[\d.]+/s +[\d.]+ s  \S", run.text, re.MULTILINE), topic


def test_a_signal_drains() -> None:
    """SIGTERM ends it as cleanly as the end of its time; also in the other dialect."""
    with dev("--rate", "300", "--dialect", "action", "--symbols", "AAPL,SPX") as run:
        run.shows(r"aries.trades +[1-9]")
        assert "action dialect" in run.text
        run.signal(signal.SIGTERM)
        assert run.ended() == 0
    assert_clean(run.text)
    assert "\x1b" not in run.text  # no live table where there is no terminal


def test_the_live_table_is_removed_at_the_end() -> None:
    """On a terminal the table is redrawn in place, below log lines; the summary follows, and no secret is shown."""
    with dev("--rate", "300", environ={"ARIES_ACCESS_TOKEN": "hunter22"}, terminal=True) as run:
        run.shows(r"quotes.*\n?.*bid")
        run.shows("adds up")
        run.shows(r"Status page: http://127\.0\.0\.1:\d+/")
        run.signal(signal.SIGINT)
        assert run.ended() == 0
    text = run.text.replace("\r\n", "\n")
    drawn, _, after = text.rpartition("\x1b[?25h")
    assert drawn.count("\x1b[?25l") == 1
    assert "\x1b[1A" in drawn
    assert "ARIES_ACCESS_TOKEN: not used" in drawn
    assert "hunter22" not in text
    assert_clean(after)


def test_faults_can_be_tried(tmp_path: Path) -> None:
    """A script injects faults into the simulator; they are shown, and the accounts still add up."""
    script = tmp_path / "faults.json"
    script.write_text(json.dumps([{"at": 0.3, "fault": "garbage"}, {"at": 0.4, "fault": "drop"}]))
    environ = {"ARIES_BACKOFF_MIN_SECONDS": "0.01", "ARIES_BACKOFF_MAX_SECONDS": "0.05"}
    with dev("--plain", "--script", str(script), environ=environ) as run:
        run.shows("fault=drop")
        run.shows(r"aries.control .* RESUMED")
        run.signal(signal.SIGINT)
        assert run.ended() == 0
    assert_clean(run.text)
    assert amount(run.text, "dead-lettered") == 1
    assert re.search(r"streaming, .* disconnects: 1 \(last: network", run.text)


async def test_it_uses_what_is_configured(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """With Aries and Kafka configured it runs the service between them."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator(rate=200) as simulator:
        with dev("--plain", environ=environment(simulator, broker.bootstrap_servers, topic_prefix)) as run:
            await simulator.wait_for(lambda: simulator.sent.market_data > 200, what="data", timeout_seconds=30)
            run.signal(signal.SIGINT)
            assert await asyncio.to_thread(run.ended) == 0
    assert_clean(run.text)
    found = await read(broker.bootstrap_servers, topic_prefix)
    assert amount(run.text, "published") == sum(one.topic not in (Topic.CONTROL, Topic.DLQ) for one in found)
    assert control(found)[-1]["kind"] == "SESSION_COMPLETED"
    assert {symbol for topic, symbol in by_symbol(found) if topic is Topic.QUOTES} == {"AAPL", "MSFT"}


def test_invalid_settings_are_exit_code_2() -> None:
    """All problems are reported in one message, as by `run`."""
    with dev("--plain", environ={"KAFKA_LINGER_MS": "soon", "BRIDGE_LOG_LEVEL": "loud"}) as run:
        assert run.ended() == 2
    assert "KAFKA_LINGER_MS" in run.text
    assert "BRIDGE_LOG_LEVEL" in run.text
    assert "Traceback" not in run.text


def test_a_closed_pipe_ends_it() -> None:
    """As in ``aries-bridge dev --plain | head -1``: it drains, and ends without a message."""
    with subprocess.Popen((*COMMAND, "--plain"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"-- 0.0 s")
        process.stdout.close()
        assert process.wait(DEADLINE_SECONDS) == 1
        assert process.stderr.read() == b""


def test_the_proxies_of_the_environment_are_not_used_for_this_machine() -> None:
    """Simulator, broker, feed and status page are reached directly, whatever proxies the environment names."""
    with dev("--seconds", "2", "--plain", environ=DEAD_PROXIES) as run:
        assert run.ended() == 0
    assert "drained, nothing lost" in run.text
