"""Losses and gaps are kept with their times, and an outage of hours does not push the rest out."""

from __future__ import annotations

from bridge.errors import DisconnectCause
from bridge.observability.connection_history import MOST, ConnectionHistory, Disconnect, Gap

SECOND_US = 1_000_000


def test_the_same_loss_again_and_again_is_one_entry() -> None:
    """While no session starts, attempts that fail alike are counted, from the first to the last."""
    connection_history = ConnectionHistory()
    for second in range(1, 4):
        connection_history.lost(DisconnectCause.NETWORK, "refused", second * SECOND_US)
    connection_history.lost(DisconnectCause.HANDSHAKE, "502", 4 * SECOND_US)
    assert list(connection_history.disconnects) == [
        Disconnect(SECOND_US, 3 * SECOND_US, 3, DisconnectCause.NETWORK, "refused"),
        Disconnect(4 * SECOND_US, 4 * SECOND_US, 1, DisconnectCause.HANDSHAKE, "502"),
    ]


def test_a_session_between_makes_another_entry() -> None:
    """Two connections lost for the same reason are two losses."""
    connection_history = ConnectionHistory()
    connection_history.lost(DisconnectCause.NETWORK, "reset", SECOND_US)
    connection_history.session_started()
    connection_history.lost(DisconnectCause.NETWORK, "reset", 9 * SECOND_US)
    assert [(loss.first_us, loss.times) for loss in connection_history.disconnects] == [
        (SECOND_US, 1),
        (9 * SECOND_US, 1),
    ]


def test_a_gap_counts_while_it_lasts() -> None:
    """The time not heard grows from the last word on, and stops at the next."""
    connection_history = ConnectionHistory()
    connection_history.begin_gap(10 * SECOND_US, DisconnectCause.STALE)
    assert [connection_history.gap_seconds(now * SECOND_US) for now in (10, 12, 15)] == [0, 2, 5]
    assert connection_history.end_gap(16 * SECOND_US) == Gap(10 * SECOND_US, 16 * SECOND_US, DisconnectCause.STALE)
    assert connection_history.gap_seconds(99 * SECOND_US) == 6
    assert connection_history.open_gap is None
    assert connection_history.end_gap(17 * SECOND_US) is None
    connection_history.begin_gap(20 * SECOND_US, DisconnectCause.CLOSED)
    assert connection_history.gap_seconds(21 * SECOND_US) == 7
    assert [gap.to_us for gap in connection_history.gaps] == [16 * SECOND_US, None]


def test_a_clock_that_was_set_back_makes_no_negative_gap() -> None:
    """A counter only grows."""
    connection_history = ConnectionHistory()
    connection_history.begin_gap(10 * SECOND_US, DisconnectCause.STALE)
    assert connection_history.gap_seconds(5 * SECOND_US) == 0
    connection_history.end_gap(5 * SECOND_US)
    assert connection_history.gap_seconds(SECOND_US) == 0


def test_only_the_latest_are_kept() -> None:
    """However long the bridge runs, the chronicle stays short; the sum of gaps forgets none."""
    connection_history = ConnectionHistory()
    for number in range(MOST + 5):
        connection_history.session_started()
        connection_history.lost(DisconnectCause.NETWORK, str(number), number)
        connection_history.begin_gap(number * SECOND_US, DisconnectCause.NETWORK)
        connection_history.end_gap((number + 1) * SECOND_US)
    assert (len(connection_history.disconnects), len(connection_history.gaps)) == (MOST, MOST)
    assert connection_history.disconnects[-1].reason == str(MOST + 4)
    assert connection_history.gap_seconds(0) == MOST + 5
