"""Disconnects and gaps are kept with their times, and a long outage does not displace the earlier ones."""

from __future__ import annotations

from bridge.errors import DisconnectCause
from bridge.observability.connection_history import MAX_ENTRIES, ConnectionHistory, Disconnect, Gap

SECOND_US = 1_000_000


def test_repeated_failures_are_one_entry() -> None:
    """Until a session starts, attempts that fail for the same reason are counted, with the first and last time."""
    history = ConnectionHistory()
    for second in range(1, 4):
        history.lost(DisconnectCause.NETWORK, "refused", second * SECOND_US)
    history.lost(DisconnectCause.HANDSHAKE, "502", 4 * SECOND_US)
    assert list(history.disconnects) == [
        Disconnect(SECOND_US, 3 * SECOND_US, 3, DisconnectCause.NETWORK, "refused"),
        Disconnect(4 * SECOND_US, 4 * SECOND_US, 1, DisconnectCause.HANDSHAKE, "502"),
    ]


def test_a_session_in_between_starts_a_new_entry() -> None:
    """Two connections lost for the same reason are two disconnects."""
    history = ConnectionHistory()
    history.lost(DisconnectCause.NETWORK, "reset", SECOND_US)
    history.session_started()
    history.lost(DisconnectCause.NETWORK, "reset", 9 * SECOND_US)
    assert [(entry.first_us, entry.times) for entry in history.disconnects] == [
        (SECOND_US, 1),
        (9 * SECOND_US, 1),
    ]


def test_a_gap_counts_while_it_lasts() -> None:
    """An open gap grows from the last data on, and ends with the next."""
    history = ConnectionHistory()
    history.begin_gap(10 * SECOND_US, DisconnectCause.STALE)
    assert [history.gap_seconds(now * SECOND_US) for now in (10, 12, 15)] == [0, 2, 5]
    assert history.end_gap(16 * SECOND_US) == Gap(10 * SECOND_US, 16 * SECOND_US, DisconnectCause.STALE)
    assert history.gap_seconds(99 * SECOND_US) == 6
    assert history.open_gap is None
    assert history.end_gap(17 * SECOND_US) is None
    history.begin_gap(20 * SECOND_US, DisconnectCause.CLOSED)
    assert history.gap_seconds(21 * SECOND_US) == 7
    assert [gap.to_us for gap in history.gaps] == [16 * SECOND_US, None]


def test_a_clock_that_was_set_back_makes_no_negative_gap() -> None:
    """The sum of gaps is exported as a counter, which only grows."""
    history = ConnectionHistory()
    history.begin_gap(10 * SECOND_US, DisconnectCause.STALE)
    assert history.gap_seconds(5 * SECOND_US) == 0
    history.end_gap(5 * SECOND_US)
    assert history.gap_seconds(SECOND_US) == 0


def test_only_the_latest_are_kept() -> None:
    """Memory does not grow with time; the sum of gaps includes all of them."""
    history = ConnectionHistory()
    for number in range(MAX_ENTRIES + 5):
        history.session_started()
        history.lost(DisconnectCause.NETWORK, str(number), number)
        history.begin_gap(number * SECOND_US, DisconnectCause.NETWORK)
        history.end_gap((number + 1) * SECOND_US)
    assert (len(history.disconnects), len(history.gaps)) == (MAX_ENTRIES, MAX_ENTRIES)
    assert history.disconnects[-1].reason == str(MAX_ENTRIES + 4)
    assert history.gap_seconds(0) == MAX_ENTRIES + 5
