"""The watch on healthy partitions finds those that stand still."""

from __future__ import annotations

from bridge.topics import Topic
from tests.programs.soak.delivery_watch import MAX_STALL_SECONDS, Partition, Stalls

GOES_ON, STANDS_STILL = Partition(Topic.QUOTES, 0), Partition(Topic.TRADES, 1)


def stalls(seconds: int) -> list[str]:
    """Return the problems after so many seconds in which only one of two partitions got records."""
    watched = Stalls({GOES_ON: 0, STANDS_STILL: 7}, 100.0)
    for second in range(1, seconds + 1):
        watched.add({GOES_ON: second, STANDS_STILL: 7}, 100.0 + second)
    return watched.problems("l2[0]")


def test_a_partition_that_stands_still_is_reported_once() -> None:
    """It is named, with what was blocked meanwhile."""
    assert stalls(15) == ["trades[1] got no record for 15 s while l2[0] could not be written"]


def test_a_short_pause_is_none() -> None:
    """A batch may be late."""
    assert stalls(int(MAX_STALL_SECONDS)) == []


def test_a_partition_that_does_not_answer_has_not_advanced() -> None:
    """No answer is no proof of a record."""
    watched = Stalls({GOES_ON: 0}, 100.0)
    watched.add({}, 120.0)
    watched.add({GOES_ON: 5}, 121.0)
    assert watched.problems("l2[0]") == ["quotes[0] got no record for 21 s while l2[0] could not be written"]
