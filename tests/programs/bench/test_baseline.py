"""The baseline is a fair opponent: the same frames become the same bytes."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from tests.programs.bench.baseline import Translation
from tests.programs.bench.core import INGEST_US, SESSION_ID, Core
from tests.programs.bench.frames import TRADING_DAY, Recipe, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.topics import Topic
    from tests.programs.bench.frames import DialectName


@pytest.mark.parametrize("dialect", ["envelope", "action"])
def test_bridge_and_baseline_write_the_same_records_byte_for_byte(dialect: DialectName) -> None:
    """For every kind of line, in each dialect, both publish the same values under the same keys, in the same order."""
    recipe = Recipe(TRADING_DAY, lines=2000, dialect=dialect, symbols=20)
    core, translation = Core(recipe), Translation()
    straightforward: list[tuple[Topic, bytes, bytes]] = []
    for line in lines_of(recipe):
        core.take(line)
        straightforward += translation.records(line, INGEST_US, SESSION_ID)
    ours = _by_key(core.waiting())
    assert {topic for topic, _ in ours} == {"quotes", "trades", "timesales", "l2"}
    assert ours == _by_key(straightforward)


def _by_key(records: Iterable[tuple[Topic, bytes, bytes]]) -> dict[tuple[Topic, bytes], list[bytes]]:
    grouped = defaultdict(list)
    for topic, key, value in records:
        grouped[topic, key].append(value)
    return grouped
