"""The CPU time from frames to batches in this interpreter: ``python -m tests.programs.bench.core_loop``.

It needs nothing but the bridge's own libraries, so that any interpreter that has these can run it
(``tests.programs.bench.interpreters`` compares several).
"""

from __future__ import annotations

import gc
import json
import time
from typing import TYPE_CHECKING, Final

from bridge.kafka.record_batch import batch_maker
from tests.programs.bench.core import FRAMES_PER_READ, Core
from tests.programs.bench.frames import QUOTES, Recipe, lines_of
from tests.programs.bench.interpreter import python

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM, COUNTED, REPEATS = 4_000, 4_000, 15
BATCH_BYTES: Final = 1 << 19


def cpu_us_per_line() -> float:
    """Return the least CPU time of some repetitions, in µs a line."""
    core, lines = Core(Recipe(QUOTES, WARM + COUNTED)), list(lines_of(Recipe(QUOTES, WARM + COUNTED)))
    _run(core, lines[:WARM])
    least = float("inf")
    for _ in range(REPEATS):
        gc.collect()
        started = time.process_time()
        _run(core, lines[WARM:])
        least = min(least, time.process_time() - started)
    return least / COUNTED * 1e6


def _run(core: Core, lines: Sequence[bytes]) -> None:
    """Take lines in, some with each read, make batches of what is queued, and let them be acknowledged."""
    new_batch = batch_maker("zstd", BATCH_BYTES)
    for at in range(0, len(lines), FRAMES_PER_READ):
        core.take_all(lines[at : at + FRAMES_PER_READ])
    for queue in core.buffer.queues():
        if queue.waiting:
            batch = new_batch()
            batch.fill(queue.waiting)
            batch.encode(1, 0, 0)
    core.acknowledge()


if __name__ == "__main__":
    print(json.dumps({"python": python(), "cpu_us": cpu_us_per_line()}))  # noqa: T201 - its answer
