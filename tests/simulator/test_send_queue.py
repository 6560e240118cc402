from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.simulator.line_counts import LineLabel
from bridge.simulator.send_queue import Outgoing, SendQueue

ITEMS = st.lists(st.tuples(st.binary(min_size=1, max_size=5).filter(lambda data: b"\n" not in data), st.booleans()))


@given(items=ITEMS, lines_per_frame=st.integers(1, 4))
async def test_frames_hold_the_lines_in_order(items: list[tuple[bytes, bool]], lines_per_frame: int) -> None:
    """No line is lost or reordered, no frame has too many lines, and whole frames stay separate."""
    queue = SendQueue(limit_bytes=1000, lines_per_frame=lines_per_frame)
    for number, (data, whole_frame) in enumerate(items):
        queue.put(Outgoing(data, (LineLabel(str(number)),), whole_frame=whole_frame))
    frames = []
    while queue:
        frames.append(await queue.next_frame())
    lines = [line for frame in frames for line in frame.data.split(b"\n")]
    assert lines == [data for data, _ in items]
    assert [label.line_type for frame in frames for label in frame.labels] == [str(n) for n in range(len(items))]
    assert all(
        len(frame.labels) == 1 if frame.whole_frame else len(frame.labels) <= lines_per_frame for frame in frames
    )
    assert queue.queued_bytes == 0


def test_full_by_bytes() -> None:
    """A queue is full once ``limit_bytes`` are queued, until they are removed."""
    queue = SendQueue(limit_bytes=4, lines_per_frame=1)
    queue.put(Outgoing(b"123"))
    assert not queue.full
    queue.put(Outgoing(b"4"))
    assert queue.full
    assert [item.data for item in queue.clear()] == [b"123", b"4"]
    assert not queue.full
