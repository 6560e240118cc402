"""Losses and gaps are kept with their times, and an outage of hours does not push the rest out."""

from __future__ import annotations

from bridge.errors import Cause
from bridge.observability.connection_history import MOST, Chronicle, Gap, Loss

SECOND_US = 1_000_000


def test_the_same_loss_again_and_again_is_one_entry() -> None:
    """While no session starts, attempts that fail alike are counted, from the first to the last."""
    chronicle = Chronicle()
    for second in range(1, 4):
        chronicle.lost(Cause.NETWORK, "refused", second * SECOND_US)
    chronicle.lost(Cause.HANDSHAKE, "502", 4 * SECOND_US)
    assert list(chronicle.losses) == [
        Loss(SECOND_US, 3 * SECOND_US, 3, Cause.NETWORK, "refused"),
        Loss(4 * SECOND_US, 4 * SECOND_US, 1, Cause.HANDSHAKE, "502"),
    ]


def test_a_session_between_makes_another_entry() -> None:
    """Two connections lost for the same reason are two losses."""
    chronicle = Chronicle()
    chronicle.lost(Cause.NETWORK, "reset", SECOND_US)
    chronicle.session_started()
    chronicle.lost(Cause.NETWORK, "reset", 9 * SECOND_US)
    assert [(loss.first_us, loss.times) for loss in chronicle.losses] == [(SECOND_US, 1), (9 * SECOND_US, 1)]


def test_a_gap_counts_while_it_lasts() -> None:
    """The time not heard grows from the last word on, and stops at the next."""
    chronicle = Chronicle()
    chronicle.begin_gap(10 * SECOND_US, Cause.STALE)
    assert [chronicle.gap_seconds(now * SECOND_US) for now in (10, 12, 15)] == [0, 2, 5]
    assert chronicle.end_gap(16 * SECOND_US) == Gap(10 * SECOND_US, 16 * SECOND_US, Cause.STALE)
    assert chronicle.gap_seconds(99 * SECOND_US) == 6
    assert chronicle.open_gap is None
    assert chronicle.end_gap(17 * SECOND_US) is None
    chronicle.begin_gap(20 * SECOND_US, Cause.CLOSED)
    assert chronicle.gap_seconds(21 * SECOND_US) == 7
    assert [gap.to_us for gap in chronicle.gaps] == [16 * SECOND_US, None]


def test_a_clock_that_was_set_back_makes_no_negative_gap() -> None:
    """A counter only grows."""
    chronicle = Chronicle()
    chronicle.begin_gap(10 * SECOND_US, Cause.STALE)
    assert chronicle.gap_seconds(5 * SECOND_US) == 0
    chronicle.end_gap(5 * SECOND_US)
    assert chronicle.gap_seconds(SECOND_US) == 0


def test_only_the_latest_are_kept() -> None:
    """However long the bridge runs, the chronicle stays short; the sum of gaps forgets none."""
    chronicle = Chronicle()
    for number in range(MOST + 5):
        chronicle.session_started()
        chronicle.lost(Cause.NETWORK, str(number), number)
        chronicle.begin_gap(number * SECOND_US, Cause.NETWORK)
        chronicle.end_gap((number + 1) * SECOND_US)
    assert (len(chronicle.losses), len(chronicle.gaps)) == (MOST, MOST)
    assert chronicle.losses[-1].reason == str(MOST + 4)
    assert chronicle.gap_seconds(0) == MOST + 5
