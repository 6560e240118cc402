"""What the bridge does for each record, counted: the guard against getting slower, which no busy machine disturbs.

The bounds stand a little above what is counted today (Python 3.11 counts most). Who makes the way shorter lowers
them; who has to raise one says why. C calls of books and mixes are many since tables are plain dicts: each look-up by
``get`` is seen as a call, those of a subclass, which took longer, were not.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from bridge.pipeline.dead_letter_limit import LETTERS_PER_SECOND, MAX_BURST
from bridge.secrets.redaction import Redactor
from bridge.secrets.secret import Secret
from bridge.topics import Topic
from tests.programs.bench.core import FRAMES_PER_READ, Core
from tests.programs.bench.frames import LEVEL2, QUOTES, TRADING_DAY, Recipe, lines_of
from tests.support.service import publishing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    from bridge.app import Bridge
    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.programs.bench.frames import DialectName, Happenings

WARM, COUNTED = 2000, 1000
#: Of the functions of the bridge, of its Kafka client, and of asyncio's streams and events, to publish what one queue
#: holds, and for each record in it. Some fifty of them are the wait of the test.
MAX_CALLS_PER_BATCH, MAX_CALLS_PER_PUBLISHED_RECORD = 135, 0.01
_COUNTED_MODULES = ("bridge.", "aiokafka.", "asyncio.locks", "asyncio.streams")
#: Nothing of this may happen for a record: logs tell changes, and metrics are read from the accounts when asked.
NOT_PER_RECORD = (
    "structlog",
    "logging",
    "prometheus_client",
    "asyncio",
    "bridge.observability",
)


class Calls:
    """Count calls, of Python functions by module, and of C functions."""

    def __init__(self) -> None:
        self.python: Counter[str] = Counter()
        self.c = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count until the block ends."""
        before = sys.getprofile()
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(before)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            self.python[frame.f_globals.get("__name__", "")] += 1
        elif event == "c_call":
            self.c += 1


def warm_core(
    happenings: Happenings, dialect: DialectName, lines_per_frame: int = 1, *, compiled: bool = False
) -> tuple[Core, list[bytes]]:
    """Return a core that has seen some of a feed, and frames of the rest."""
    recipe = Recipe(happenings, WARM + COUNTED, lines_per_frame, dialect)
    core, lines = Core(recipe, compiled=compiled), list(lines_of(recipe))
    for line in lines[:WARM]:
        core.take(line)
    core.acknowledge()
    rest = lines[WARM:]
    return core, [b"\n".join(rest[at : at + lines_per_frame]) for at in range(0, COUNTED, lines_per_frame)]


def take(core: Core, frames: list[bytes]) -> None:
    """Take all frames in, some with each read, and let everything be acknowledged."""
    for at in range(0, len(frames), FRAMES_PER_READ):
        core.take_all(frames[at : at + FRAMES_PER_READ])
    core.acknowledge()


@pytest.mark.parametrize(
    ("happenings", "dialect", "lines_per_frame", "most_python", "most_c"),
    [
        pytest.param(QUOTES, "envelope", 1, 11, 39, id="quotes, one a frame"),
        pytest.param(QUOTES, "envelope", 10, 11, 39, id="quotes, ten a frame"),
        pytest.param(QUOTES, "action", 1, 11, 39, id="quotes of the older dialect"),
        pytest.param(LEVEL2, "envelope", 1, 19, 160, id="books of twenty rows"),
        # A tenth of a call for the receiver, which has the compiled step where it was built.
        pytest.param(TRADING_DAY, "envelope", 10, 19.1, 63, id="a trading day"),
    ],
)
def test_calls_per_record_stay_few(
    happenings: Happenings, dialect: DialectName, lines_per_frame: int, most_python: float, most_c: float
) -> None:
    """From the frame to its queue and out of the budget, each record takes so many calls and no more."""
    calls = Calls()
    core, frames = warm_core(happenings, dialect, lines_per_frame)
    with calls.counting():
        take(core, frames)
    assert calls.python.total() / COUNTED <= most_python
    assert calls.c / COUNTED <= most_c


@pytest.mark.usefixtures("compiled_step")
@pytest.mark.parametrize("dialect", ["envelope", "action"])
@pytest.mark.parametrize("happenings", [QUOTES, LEVEL2], ids=["quotes", "books"])
def test_the_compiled_step_leaves_hardly_any_calls(happenings: Happenings, dialect: DialectName) -> None:
    """Python's functions are called for each read and each batch, but for no record of a usual line."""
    calls = Calls()
    core, frames = warm_core(happenings, dialect, compiled=True)
    with calls.counting():
        take(core, frames)
    assert calls.python.total() / COUNTED <= 0.5
    assert calls.c / COUNTED <= 1.1  # what takes the records out of their queue again


@pytest.mark.parametrize(
    ("letters", "most_python", "most_c"),
    [pytest.param(COUNTED, 130, 85, id="written"), pytest.param(0, 117, 70, id="beyond the rate limit")],
)
def test_calls_per_bad_line_stay_few(tmp_path: Path, letters: int, most_python: float, most_c: float) -> None:
    """A bad line takes so many calls and no more, with secrets in files and known tokens; beyond the limit, fewer.

    Each of its twelve fields is unreadable, and each is looked at: one good field would make it a record.
    """
    secrets = [Secret.in_file(f"SECRET_{number}", tmp_path / str(number)) for number in range(4)]
    for number, secret in enumerate(secrets):
        cast("Path", secret.path).write_text(f"the-secret-of-setting-{number}", "utf-8")
    now = [0.0]
    redactor = Redactor(secrets, clock=lambda: now[0])
    recipe = Recipe(QUOTES, WARM + COUNTED, good_symbols=0)
    core, lines = Core(recipe, redact=redactor.redact, clock=lambda: now[0]), list(lines_of(recipe))
    take(core, lines[:WARM])  # the whole burst, and more
    if letters:
        now[0] += letters / LETTERS_PER_SECOND
    calls = Calls()
    with calls.counting():
        take(core, lines[WARM:])
    assert core.accounts.dead_lettered.total() == MAX_BURST + 1 + letters
    assert core.accounts.balance == 0
    assert calls.python.total() / COUNTED <= most_python
    assert calls.c / COUNTED <= most_c


def test_nothing_is_logged_measured_or_awaited_for_a_record() -> None:
    """Logs tell changes of state; metrics are read from the accounts when they are asked for."""
    calls = Calls()
    core, frames = warm_core(TRADING_DAY, "envelope")
    with calls.counting():
        take(core, frames)
    assert [name for name in calls.python if name.startswith(NOT_PER_RECORD)] == []


@pytest.mark.parametrize(("happenings", "most"), [(QUOTES, 4.0), (LEVEL2, 4.5)], ids=["quotes", "books"])
def test_a_waiting_record_takes_few_blocks_of_memory(happenings: Happenings, most: float) -> None:
    """A record waits as little more than its bytes: what was decoded on the way is gone."""
    core, frames = warm_core(happenings, "envelope")
    gc.collect()
    before = sys.getallocatedblocks()
    for frame in frames:
        core.take(frame)
    gc.collect()
    assert (sys.getallocatedblocks() - before) / COUNTED <= most


async def test_publishing_costs_calls_per_batch_and_hardly_any_per_record(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """Two thousand records of a queue go out together, with little more code run than for one."""
    async with publishing(broker.bootstrap_servers, topic_prefix) as bridge:
        await _published(bridge, 1)  # what happens for the first time happens now
        few, many = await _published(bridge, 1), await _published(bridge, 2001)
    assert few <= MAX_CALLS_PER_BATCH
    assert (many - few) / 2000 <= MAX_CALLS_PER_PUBLISHED_RECORD


async def _published(bridge: Bridge, count: int) -> int:
    """Return how many counted calls it takes to publish so many records of one queue."""
    queue = bridge.buffer.queue_for(Topic.QUOTES, b"AAPL")
    for number in range(count):
        bridge.buffer.add(queue, (number, b"AAPL", b"a record", None))
    calls = Calls()
    with calls.counting():
        await bridge.publisher.drained()
    return sum(times for name, times in calls.python.items() if name.startswith(_COUNTED_MODULES))
