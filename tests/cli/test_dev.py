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
from tests.support.service import DEADLINE_SECONDS, by_symbol, control, environment, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bridge.kafka.embedded_broker import EmbeddedBroker


COMMAND = (sys.executable, "-W", "error", "-m", "bridge", "dev")


class Run:
    """One running command; what it prints is read as it comes."""

    def __init__(self, process: subprocess.Popen[bytes], output: int) -> None:
        self.text = ""
        self._process = process
        self._output = output

    def shows(self, pattern: str) -> None:
        """Wait until the output so far has something in it."""
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
        except OSError:  # how Linux tells that nobody has a pseudo terminal open any more
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
    """Return what the summary says of an account."""
    found = re.search(rf"^  [=+ ]*{re.escape(name)} +([\d,]+)", text, re.MULTILINE)
    assert found is not None, f"no {name!r} in:\n{text}"
    return int(found[1].replace(",", ""))


def assert_clean(text: str) -> None:
    """Check that a summary adds up and has nothing of a loss in it."""
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


def test_it_needs_nothing_and_proves_the_whole_way() -> None:
    """In plain mode it shows each topic, stops after its time, and what was sent is what Kafka holds."""
    with dev("--plain", "--seconds", "3", "--rate", "300") as run:
        assert run.ended() == 0
    assert_clean(run.text)
    assert "as many as the simulator sent" in run.text
    assert len(re.findall(r"^   Status page: http://127.0.0.1:[1-9]\d*/$", run.text, re.MULTILINE)) == 1
    assert amount(run.text, "lines read") > 300
    assert len(re.findall(r"^-- \d", run.text, re.MULTILINE)) >= 2
    for topic in set(Topic) - {Topic.DLQ}:
        assert re.search(rf"^   aries\.{topic} +[1-9][\d,]* +[\d.]+/s  \S", run.text, re.MULTILINE), topic


def test_a_signal_drains() -> None:
    """A service manager's stop ends it as cleanly as its time does; so in the other dialect."""
    with dev("--rate", "300", "--dialect", "action", "--symbols", "AAPL,SPX") as run:
        run.shows(r"aries.trades +[1-9]")
        assert "action dialect" in run.text
        run.signal(signal.SIGTERM)
        assert run.ended() == 0
    assert_clean(run.text)
    assert "\x1b" not in run.text  # no live table where there is no terminal


def test_the_live_table_gives_the_terminal_back() -> None:
    """On a terminal the table is drawn in place; after it comes the summary, from which no secret can be seen."""
    with dev("--rate", "300", environ={"ARIES_ACCESS_TOKEN": "hunter22"}, terminal=True) as run:
        run.shows(r"quotes.*\n?.*bid")
        run.shows("adds up")
        run.shows(r"  http://127\.0\.0\.1:\d+/\S*  Ctrl-C")
        run.signal(signal.SIGINT)
        assert run.ended() == 0
    drawn, _, after = run.text.replace("\r\n", "\n").rpartition("\x1b[?1049l")
    assert drawn.count("\x1b[?1049h") == 1
    assert drawn.rindex("\x1b[?25l") < run.text.rindex("\x1b[?25h")
    assert "ARIES_ACCESS_TOKEN: not used" in run.text
    assert "hunter22" not in run.text
    assert_clean(after)


def test_faults_can_be_tried(tmp_path: Path) -> None:
    """A script lets the simulator misbehave; the losses are seen, and the accounts still add up."""
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
    assert re.search(r"streaming: .* 1 lost \(last: network", run.text)


async def test_it_uses_what_is_configured(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """With Aries and Kafka of one's own it is the service on them, and its records are there to be read."""
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


def test_wrong_settings_end_it_with_2() -> None:
    """What is wrong is told in one message, as by `run`."""
    with dev("--plain", environ={"KAFKA_LINGER_MS": "soon", "BRIDGE_LOG_LEVEL": "loud"}) as run:
        assert run.ended() == 2
    assert "KAFKA_LINGER_MS" in run.text
    assert "BRIDGE_LOG_LEVEL" in run.text
    assert "Traceback" not in run.text


def test_a_reader_that_has_seen_enough_ends_it() -> None:
    """As in ``aries-bridge dev --plain | head -1``: it drains and ends, quietly."""
    with subprocess.Popen((*COMMAND, "--plain"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"-- 0.0 s")
        process.stdout.close()
        assert process.wait(DEADLINE_SECONDS) == 1
        assert process.stderr.read() == b""
