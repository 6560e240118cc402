"""The feeds of the benchmark are real traffic, and the same every time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.protocol import State
from websockets.uri import parse_uri

from bridge.serialization.field_mappings import FIELD_MAPPINGS, SHARED_FIELD_MAPPINGS
from bridge.topics import Topic
from tests.programs.bench.feeder import Frames
from tests.programs.bench.frames import LEVEL2, QUOTES, TRADING_DAY, Recipe, build, lines_of

if TYPE_CHECKING:
    from pathlib import Path


def test_the_same_recipe_makes_the_same_bytes_and_another_seed_others() -> None:
    """Runs can be repeated, today and on another machine."""
    first, again = build(Recipe(TRADING_DAY, 200)), build(Recipe(TRADING_DAY, 200))
    assert first == again
    assert build(Recipe(TRADING_DAY, 200, seed=2)).wire != first.wire


def test_frames_hold_the_lines_as_a_websocket_client_reads_them() -> None:
    """Each frame is whole and holds so many lines; together they are all lines in their order."""
    recipe = Recipe(TRADING_DAY, 95, lines_per_frame=10)
    client = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN)
    client.receive_data(build(recipe).wire)
    frames = [bytes(event.data).split(b"\n") for event in client.events_received() if isinstance(event, Frame)]
    assert [len(lines) for lines in frames] == [10] * 9 + [5]
    assert [line for lines in frames for line in lines] == list(lines_of(recipe))


def test_quotes_have_every_field_and_walk() -> None:
    """A feed whose lines repeat themselves would only measure caches."""
    data = [json.loads(line)["payload"]["data"] for line in lines_of(Recipe(QUOTES, 1000))]
    assert data[0].keys() == {"symbol", *SHARED_FIELD_MAPPINGS, *FIELD_MAPPINGS[Topic.QUOTES]}
    assert len({tuple(one.values()) for one in data}) == 1000
    assert len({one["askPrice"] for one in data}) > 500


def test_prices_of_the_older_dialect_are_strings() -> None:
    """As that dialect has them."""
    data = [json.loads(line)["data"] for line in lines_of(Recipe(QUOTES, 10, dialect="action"))]
    assert all(isinstance(one["askPrice"], str) for one in data)


def test_a_book_has_twenty_rows_and_the_exchanges() -> None:
    """That is what the level-2 case is named for."""
    line = next(iter(lines_of(Recipe(LEVEL2, 1))))
    data = json.loads(line)["payload"]["data"]
    assert len(data["orderBook"]) == 20
    assert len(data["quotes"]) == 6


def test_a_trading_day_is_mostly_quotes() -> None:
    """70 % quotes, 20 % trades and time and sales, 10 % level 2, give or take the dice."""
    counts = {topic: sum(symbols.values()) for topic, symbols in build(Recipe(TRADING_DAY, 5000)).records.items()}
    assert 3300 < counts[Topic.QUOTES] < 3700
    assert 800 < counts[Topic.TRADES] + counts[Topic.TIMESALES] < 1200
    assert 400 < counts[Topic.L2] < 600


def test_a_saved_feed_is_cut_at_frames(tmp_path: Path) -> None:
    """The feeder writes whole frames, whatever it writes at once."""
    feed = build(Recipe(QUOTES, 2000, lines_per_frame=3))
    frames = Frames(feed.save(tmp_path / "feed"))
    cut, first = b"", 0
    while first < len(frames):
        last = frames.next_chunk(first)
        cut += frames.between(first, last)
        first = last
    assert cut == feed.wire
    assert bytes(frames.between(1, 2)) == feed.wire[feed.ends[0] : feed.ends[1]]
