"""Keep-alive: pings, pongs, and connections without data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.aries.protocol.keep_alive import KeepAlive, Timing
from bridge.errors import DisconnectCause
from tests.aries.protocol.wire import CLOSED, OPEN

TICK_SECONDS = 0.1
TIMING = Timing(ping_interval_seconds=30.0, pong_timeout_seconds=10.0, stale_after_seconds=60.0)
HOUR_SECONDS = 3600.0


class Watch:
    """A keep-alive under test, with a clock and a peer that answers its pings."""

    def __init__(
        self,
        *,
        documented: bool = False,
        pongs: bool = True,
        protocol_pongs: bool = True,
        timing: Timing = TIMING,
        status: dict[str, object] | None = OPEN,
    ) -> None:
        self.now = 100.0
        self.pings: list[float] = []
        self.pongs = pongs
        self.protocol_pongs = protocol_pongs
        self.keep_alive = KeepAlive(timing, pong_expected=documented, now=self.now)
        self.keep_alive.start(self.now)
        if status is not None:
            self.keep_alive.market_status_received(status, self.now)

    def receive(self) -> None:
        """Receive a frame without data."""
        self.keep_alive.frame_received(self.now)

    def data(self) -> None:
        """Receive market data."""
        self.keep_alive.frame_received(self.now)
        self.keep_alive.data_received(self.now)

    def run(
        self, seconds: float, *, data_every: float | None = None, frame_every: float | None = None
    ) -> DisconnectCause | None:
        """Return why the connection was lost in this time, if it was."""
        started = received = data = self.now
        while self.now < started + seconds:
            self.now += TICK_SECONDS
            if data_every is not None and self.now - data >= data_every:
                data = self.now
                self.data()
            if frame_every is not None and self.now - received >= frame_every:
                received = self.now
                self.receive()
            self._answer()
            if self.keep_alive.ping_due(self.now):
                self.keep_alive.ping_sent(self.now)
                self.pings.append(round(self.now - 100, 1))
            lost = self.keep_alive.check(self.now)
            if lost is not None:
                return lost.cause
        return None

    def _answer(self) -> None:
        if self.pings and self.keep_alive.take_protocol_ping():
            if self.pongs:
                self.receive()
                self.keep_alive.pong_received()
            if self.protocol_pongs:
                self.keep_alive.protocol_pong_received(self.now)


def test_pings_are_sent_by_the_interval() -> None:
    """A ping is sent every interval, counted from authentication."""
    watch = Watch(status=CLOSED)
    assert watch.run(121) is None
    assert watch.pings == pytest.approx([30, 60, 90, 120], abs=0.5)


def test_pings_are_sent_by_the_interval_if_the_timeout_is_longer() -> None:
    """A ping that was answered does not delay the next."""
    watch = Watch(status=CLOSED, timing=Timing(ping_interval_seconds=2.0, pong_timeout_seconds=10.0))
    assert watch.run(10.5) is None
    assert len(watch.pings) == 5


@pytest.mark.parametrize("documented", [True, False])
def test_a_dead_peer_is_detected_in_any_market(documented: bool) -> None:  # noqa: FBT001 - a case
    """A dead connection is lost at the first ping's deadline, whether the market is open or not."""
    watch = Watch(documented=documented, pongs=False, protocol_pongs=False, status=CLOSED)
    assert watch.run(60) is DisconnectCause.PONG_TIMEOUT
    assert watch.now == pytest.approx(140, abs=0.5)


@pytest.mark.parametrize("documented", [True, False])
def test_a_peer_that_dies_later_is_detected(documented: bool) -> None:  # noqa: FBT001 - a case
    """A peer that stops to answer after an hour is detected within an interval and a timeout."""
    watch = Watch(documented=documented, status=CLOSED)
    assert watch.run(HOUR_SECONDS) is None
    watch.pongs = watch.protocol_pongs = False
    assert watch.run(41) is DisconnectCause.PONG_TIMEOUT


@given(
    documented=st.booleans(),
    pongs=st.booleans(),
    status=st.sampled_from([CLOSED, OPEN]),
    data_every=st.none() | st.floats(1, 55),
)
def test_a_healthy_connection_is_never_lost(
    documented: bool,  # noqa: FBT001 - drawn
    pongs: bool,  # noqa: FBT001 - drawn
    status: dict[str, object],
    data_every: float | None,
) -> None:
    """A peer that answers as documented is kept, without data if the market is closed, or with data if it is open."""
    if status is OPEN and data_every is None:
        data_every = 59.0
    watch = Watch(documented=documented, pongs=pongs or documented, status=status)
    assert watch.run(600, data_every=data_every) is None


def test_a_documented_pong_is_required_even_with_data() -> None:
    """If the vendor documents an answer, a missing one is a fault."""
    watch = Watch(documented=True, pongs=False)
    assert watch.run(60, data_every=1) is DisconnectCause.PONG_TIMEOUT


def test_pongs_are_required_after_the_first_one() -> None:
    """A server that answered a ping once has to answer the others, documented or not."""
    watch = Watch(documented=False)
    assert watch.run(60, data_every=1) is None
    watch.pongs = False
    assert watch.run(60, data_every=1) is DisconnectCause.PONG_TIMEOUT


def test_the_protocol_pong_is_required_in_addition() -> None:
    """Application pongs are not sufficient, as RFC 6455 requires every endpoint to answer pings."""
    watch = Watch(documented=True, protocol_pongs=False)
    assert watch.run(60, data_every=1) is DisconnectCause.PONG_TIMEOUT


def test_undocumented_pongs_may_be_missing_if_other_frames_are_received() -> None:
    """If a server never answered a ping, any frame after the ping counts as an answer."""
    watch = Watch(documented=False, pongs=False, protocol_pongs=False, status=CLOSED)
    assert watch.run(HOUR_SECONDS, frame_every=5) is None
    assert watch.run(41) is DisconnectCause.PONG_TIMEOUT


@pytest.mark.parametrize("status", [OPEN, {**CLOSED, "market": "extended-hours"}, None, {**CLOSED, "afterHours": True}])
def test_a_connection_without_data_is_probed_and_then_lost(status: dict[str, object] | None) -> None:
    """Pongs do not replace data while the market is open, extended or unknown."""
    watch = Watch(status=status)
    assert watch.run(59.8) is None
    probes = len(watch.pings)
    assert watch.run(0.4) is None
    assert len(watch.pings) == probes + 1
    assert watch.run(11) is DisconnectCause.STALE
    assert watch.now == pytest.approx(170, abs=0.5)


def test_data_ends_a_probe() -> None:
    """One update during the probe is enough."""
    watch = Watch()
    assert watch.run(65) is None
    watch.data()
    assert watch.run(59) is None
    assert watch.run(12) is DisconnectCause.STALE


def test_messages_without_data_do_not_end_a_probe() -> None:
    """Frames without data do not replace data."""
    assert Watch().run(75, frame_every=1) is DisconnectCause.STALE


def test_the_close_of_the_market_ends_a_probe() -> None:
    """A market that closes during the probe explains the silence."""
    watch = Watch()
    assert watch.run(65) is None
    watch.keep_alive.market_status_received(CLOSED, watch.now)
    assert watch.run(HOUR_SECONDS) is None


def test_silence_counts_from_the_opening() -> None:
    """A night without data does not count in the next morning."""
    watch = Watch(status=CLOSED)
    assert watch.run(HOUR_SECONDS) is None
    watch.keep_alive.market_status_received(OPEN, watch.now)
    assert watch.run(59) is None
    assert watch.run(12) is DisconnectCause.STALE


def test_a_repeated_market_status_is_no_data() -> None:
    """Neither a status that repeats "open" nor one without a state hides that data is missing."""
    watch = Watch()
    for _ in range(13):
        assert watch.run(5) is None
        watch.keep_alive.market_status_received(OPEN, watch.now)
        watch.keep_alive.market_status_received({"market": None}, watch.now)
    assert watch.run(6) is DisconnectCause.STALE


def test_staleness_can_be_disabled_and_needs_subscriptions() -> None:
    """With ``stale_after_seconds`` 0, or without subscriptions, a connection never counts as stale."""
    assert Watch(timing=Timing(stale_after_seconds=0.0)).run(600) is None
    watch = Watch()
    watch.keep_alive.data_expected = False
    assert watch.run(600) is None


@pytest.mark.parametrize(
    ("status", "is_open"),
    [
        ({"market": "open"}, True),
        ({"market": "closed"}, False),
        ({"market": "CLOSED"}, False),
        ({"market": "extended-hours"}, True),
        ({"market": "closed", "afterHours": True}, True),
        ({"market": "closed", "earlyHours": True}, True),
        ({"market": "closed", "afterHours": "yes"}, False),
        ({"earlyHours": True}, True),
        ({"earlyHours": False}, None),
        ({"market": None}, None),
        ({"market": 1}, None),
        ({"market": ["open"]}, None),
        ({}, None),
    ],
)
def test_extended_hours_count_as_open(status: dict[str, object], is_open: bool | None) -> None:  # noqa: FBT001 - a case
    """Hours before and after the regular ones count; a status without a state changes nothing."""
    keep_alive = Watch(status=status).keep_alive
    assert keep_alive.market_open is is_open
    keep_alive.market_status_received({"exchanges": {}}, 200.0)
    assert keep_alive.market_open is is_open


def test_a_protocol_ping_is_taken_once() -> None:
    """Each ping is sent once."""
    keep_alive = Watch().keep_alive
    assert not keep_alive.take_protocol_ping()
    keep_alive.ping_sent(1.0)
    assert keep_alive.take_protocol_ping()
    assert not keep_alive.take_protocol_ping()


def test_the_times_of_the_first_and_last_data_are_kept() -> None:
    """They tell for how long the session received data."""
    keep_alive = Watch().keep_alive
    assert [keep_alive.data_received(now) for now in (5.0, 6.0, 9.0)] == [True, False, False]
    assert (keep_alive.first_data, keep_alive.last_data) == (5.0, 9.0)
