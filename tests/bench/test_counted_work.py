"""What the bridge does for each record, counted: the guard against getting slower, which no busy machine disturbs.

The bounds stand a little above what is counted today (Python 3.11 counts most). Who makes the way shorter lowers
them; who has to raise one says why.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.bench.core import Core
from tests.bench.frames import LEVEL2, QUOTES, TRADING_DAY, Recipe, lines_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from tests.bench.frames import DialectName, Happenings

WARM, COUNTED = 2000, 1000
#: Nothing of this may happen for a record: logs tell changes, and metrics are read from the accounts when asked.
NOT_PER_RECORD = ("structlog", "logging", "prometheus_client", "asyncio", "bridge.logs", "bridge.metrics", "bridge.web")


class Calls:
    """Count the calls made while a function runs, of Python functions by module, and of C functions."""

    def __init__(self) -> None:
        self.python: Counter[str] = Counter()
        self.c = 0

    def count(self, work: Callable[[], None]) -> None:
        """Run it, counting."""
        before = sys.getprofile()
        sys.setprofile(self._note)
        try:
            work()
        finally:
            sys.setprofile(before)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            self.python[frame.f_globals.get("__name__", "")] += 1
        elif event == "c_call":
            self.c += 1


def warm_core(happenings: Happenings, dialect: DialectName, lines_per_frame: int = 1) -> tuple[Core, list[bytes]]:
    """Return a core that has seen some of a feed, and frames of the rest."""
    recipe = Recipe(happenings, WARM + COUNTED, lines_per_frame, dialect)
    core, lines = Core(recipe), list(lines_of(recipe))
    for line in lines[:WARM]:
        core.take(line)
    core.acknowledge()
    rest = lines[WARM:]
    return core, [b"\n".join(rest[at : at + lines_per_frame]) for at in range(0, COUNTED, lines_per_frame)]


def taking(core: Core, frames: list[bytes]) -> Callable[[], None]:
    """Return the work: all frames in, then everything acknowledged."""

    def work() -> None:
        for frame in frames:
            core.take(frame)
        core.acknowledge()

    return work


@pytest.mark.parametrize(
    ("happenings", "dialect", "lines_per_frame", "most_python", "most_c"),
    [
        pytest.param(QUOTES, "envelope", 1, 38, 50, id="quotes, one a frame"),
        pytest.param(QUOTES, "envelope", 10, 32, 49, id="quotes, ten a frame"),
        pytest.param(QUOTES, "action", 1, 38, 48, id="quotes of the older dialect"),
        pytest.param(LEVEL2, "envelope", 1, 41, 79, id="books of twenty rows"),
        pytest.param(TRADING_DAY, "envelope", 10, 37, 57, id="a trading day"),
    ],
)
def test_calls_per_record_stay_few(
    happenings: Happenings, dialect: DialectName, lines_per_frame: int, most_python: float, most_c: float
) -> None:
    """From the frame to its lane and out of the budget, each record takes so many calls and no more."""
    calls = Calls()
    calls.count(taking(*warm_core(happenings, dialect, lines_per_frame)))
    assert calls.python.total() / COUNTED <= most_python
    assert calls.c / COUNTED <= most_c


def test_nothing_is_logged_measured_or_awaited_for_a_record() -> None:
    """Logs tell changes of state; metrics are read from the accounts when somebody asks."""
    calls = Calls()
    calls.count(taking(*warm_core(TRADING_DAY, "envelope")))
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
