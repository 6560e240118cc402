from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.simulator.outbox import Outbox, Outgoing
from bridge.simulator.tally import Mark

ITEMS = st.lists(st.tuples(st.binary(min_size=1, max_size=5).filter(lambda data: b"\n" not in data), st.booleans()))


@given(items=ITEMS, lines_per_frame=st.integers(1, 4))
def test_frames_hold_the_lines_in_order(items: list[tuple[bytes, bool]], lines_per_frame: int) -> None:
    """Nothing is lost or moved, no frame has more lines than allowed, and what is to go alone goes alone."""
    outbox = Outbox(limit_bytes=1000, lines_per_frame=lines_per_frame)
    for number, (data, alone) in enumerate(items):
        outbox.put(Outgoing(data, (Mark(str(number)),), alone=alone))
    frames = []
    while outbox:
        frames.append(outbox.take())
    lines = [line for frame in frames for line in frame.data.split(b"\n")]
    assert lines == [data for data, _ in items]
    assert [mark.word for frame in frames for mark in frame.marks] == [str(n) for n in range(len(items))]
    assert all(len(frame.marks) == 1 if frame.alone else len(frame.marks) <= lines_per_frame for frame in frames)
    assert outbox.queued_bytes == 0


def test_full_by_bytes() -> None:
    """An outbox is full once so many bytes wait, and empty again when they are taken or given up."""
    outbox = Outbox(limit_bytes=4, lines_per_frame=1)
    outbox.put(Outgoing(b"123"))
    assert not outbox.full
    outbox.put(Outgoing(b"4"))
    assert outbox.full
    assert [item.data for item in outbox.empty()] == [b"123", b"4"]
    assert not outbox.full
