"""Make the golden captures of ``tests/explain/golden``, and what they are explained as.

``python -m tests.programs.golden_captures --record`` records new captures of the simulator; ``--write`` (the default)
only explains those there are again, after a change of records or errors that is meant: look at the difference.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bridge.capture.reader import open_capture
from bridge.explain.explainer import Explainer
from bridge.kafka.embedded_broker import EmbeddedBroker
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from bridge.topics import Topic, topic_names
from tests.support.paths import ROOT
from tests.support.service import environment, eventually, running

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN: Final = ROOT / "tests" / "explain" / "golden"
DIALECTS: Final = ("action", "envelope")
OPTION: Final = "AAPL240119C00150000"
SETTINGS: Final = {"ARIES_SYMBOLS": f"AAPL,SPX,{OPTION}", "ARIES_EVENTS": "quotes,trades,timesales,l2,greeks"}
PARTITIONS: Final = 4
#: Fields whose values are no property of the line: ids of sessions, the version.
_VARYING: Final = (
    (re.compile(r'"session_id":\d+'), '"session_id":1'),
    (re.compile(r'"bridge_version":"[^"]*"'), '"bridge_version":"0"'),
)
#: Lines that the simulator has no fault for.
ODD_LINES: Final = (
    b"",
    b"\xff\xfe",
    b"heartbeat",
    b"[]",
    b"not JSON at all",
    b'{"type":"event","payload":{"action":"update","type":"quote","data":{"bidPrice":1}}}',
    b'{"action":"update","type":"quote","data":{"symbol":"AAPL","bidPrice":1e400,"askPrice":"1.123456789123"}}',
    b'{"type":"event","payload":{"action":"update","type":"quote","data":{"symbol":"AAPL","bidPrice":"1,5"}}}',
)


def capture(dialect: str) -> Path:
    """Return the golden capture of a dialect."""
    return GOLDEN / f"{dialect}.capture.zst"


def expected(dialect: str) -> Path:
    """Return the file with what it is explained as."""
    return GOLDEN / f"{dialect}.jsonl"


def explained(path: Path) -> Iterator[str]:
    """Yield a line of JSON for each line of a capture, without what varies."""
    with open_capture(path) as opened:
        assert opened.dialect is not None
        explainer = Explainer(opened.dialect, topic_names("aries", {}), PARTITIONS)
        for number, entry in enumerate(opened.entries(), 1):
            if entry.is_frame:
                for explanation in explainer.explain(entry.data, entry.time_us):
                    yield constant(explanation.json(entry=number))


def constant(line: str) -> str:
    """Return a line of JSON without what varies."""
    for pattern, replacement in _VARYING:
        line = pattern.sub(replacement, line)
    return line


async def record(dialect: Any) -> None:
    """Record a bridge that receives a little of everything, odd lines included."""
    prefix = "golden"
    with EmbeddedBroker() as broker, tempfile.TemporaryDirectory() as directory:
        broker.create_topics(f"{prefix}.{topic}" for topic in Topic)
        async with Simulator(dialect=dialect, lines_per_frame=2) as simulator:
            environ = environment(simulator, broker.bootstrap_servers, prefix, BRIDGE_CAPTURE_DIR=directory, **SETTINGS)
            async with running(environ) as bridge:
                await simulator.subscribed("AAPL", "SPX", OPTION)
                await eventually(lambda: bridge.client.state == "streaming", "streaming")
                await simulator.emit(30)
                for line in ODD_LINES:
                    await simulator.send_frame(line)
                for fault in (faults.Garbage(), faults.UnknownKind(), faults.UnknownField(), faults.OddValues()):
                    await simulator.inject(fault)
                await simulator.emit(30)
                await simulator.inject(faults.Arrays())
                await simulator.emit(4)
                await eventually(lambda: bridge.recorder.frames_written == simulator.sent.frames, "all frames")
        [found] = Path(directory).glob("*-all.capture.zst")  # noqa: ASYNC240 - nothing else runs
        shutil.copyfile(found, capture(dialect))


def main() -> None:
    """Record or only explain the captures."""
    parser = argparse.ArgumentParser(prog="python -m tests.programs.golden_captures")
    parser.add_argument("--record", action="store_true", help="record new captures first")
    parser.add_argument("--write", action="store_true", help="explain those there are")
    GOLDEN.mkdir(exist_ok=True)
    if parser.parse_args().record:
        for dialect in DIALECTS:
            asyncio.run(record(dialect))
    for dialect in DIALECTS:
        expected(dialect).write_text("".join(f"{line}\n" for line in explained(capture(dialect))), encoding="utf-8")


if __name__ == "__main__":
    main()
