"""Frames to queues by the compiled step and by the session, in the order of the lines."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.aries.protocol.session import BATCH_LINES
from bridge.topics import Topic
from tests.pipeline.compiled.ways import Way

if TYPE_CHECKING:
    from collections.abc import Sequence

QUOTE = '{"type":"event","payload":{"action":"update","type":"quote","data":{"symbol":"%s","bidSize":%d}}}'
#: With a field that no record has: not a usual line, but a record nevertheless.
ODD_QUOTE = (
    '{"type":"event","payload":{"action":"update","type":"quote","data":{"symbol":"%s","bidSize":%d,"venue":1}}}'
)

pytestmark = pytest.mark.usefixtures("compiled_step")


def sizes(way: Way, symbol: str) -> list[int]:
    """Return the sizes in the queued quotes of a symbol, in their order."""
    queue = way.buffer.queue_for(Topic.QUOTES, symbol.encode())
    records = [way.pipeline._serializer.decode(Topic.QUOTES, value) for _, key, value, _ in queue.waiting if key]
    return [size for record in records if record["symbol"] == symbol and isinstance(size := record["bid_size"], int)]


@given(odd=st.lists(st.booleans(), max_size=60), frame_lines=st.integers(1, 9))
def test_order_is_kept_whoever_takes_a_line(odd: Sequence[bool], frame_lines: int) -> None:
    """Usual and odd lines of one symbol come to its queue as they were sent."""
    way = Way("envelope", compiled=True)
    lines = [((ODD_QUOTE if is_odd else QUOTE) % ("A", 100 + number)).encode() for number, is_odd in enumerate(odd)]
    way.receive(*(b"\n".join(lines[at : at + frame_lines]) for at in range(0, len(lines), frame_lines)))
    assert sizes(way, "A") == [1, *range(100, 100 + len(odd))]


def test_a_turn_is_bounded_for_usual_lines_and_for_odd_ones() -> None:
    """However many lines a frame has, other tasks get their turn: sooner, the more lines the session must handle."""
    way = Way("envelope", compiled=True)
    usual, odd = ((line % ("A", 2)).encode() for line in (QUOTE, ODD_QUOTE))
    for line, expected in ((usual, 8 * BATCH_LINES), (odd, BATCH_LINES)):
        before = way.pipeline.accounts.lines_received
        frames = deque([b"\n".join([line] * 5000)])
        way._receiver.receive(frames, way.now_us, 1.0)
        assert way.pipeline.accounts.lines_received - before == expected
        assert len(frames) == 1
        way.reconnect()
        way.receive(usual)


def test_before_the_first_data_no_line_is_taken_directly() -> None:
    """The session has to see that data comes: it implies that authentication succeeded, and ends a gap."""
    way = Way("envelope", compiled=True)
    way.reconnect()
    before = way.taken
    way.receive((QUOTE % ("A", 2)).encode())
    assert way.taken == before
    way.receive((QUOTE % ("A", 3)).encode())
    assert way.taken == before + 1


def test_elements_of_an_array_are_followed_by_the_rest_of_their_frame() -> None:
    """A line that is an array has lines of its own, and none of those behind it is taken before them."""
    way = Way("envelope", compiled=True)
    quotes = [(QUOTE % ("A", number)).encode() for number in range(100, 110)]
    frame = b"\n".join([quotes[0], b"[" + b",".join(quotes[1:4]) + b"]", *quotes[4:]])
    way.receive(frame, (QUOTE % ("A", 110)).encode())
    assert sizes(way, "A") == [1, *range(100, 111)]


def test_what_is_no_frame_is_an_error() -> None:
    """Only bytes come from a connection; anything else is a mistake of ours, and nothing is counted for it."""
    way = Way("envelope", compiled=True)
    assert way.ingest.take_lines is not None
    before = way.state()
    with pytest.raises(TypeError):
        way.ingest.take_lines(way.now_us, deque(["text"]), 0, 1, 1)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="negative"):
        way.ingest.take_lines(way.now_us, deque([b"{}"]), -1, 1, 1)
    assert way.state() == before
