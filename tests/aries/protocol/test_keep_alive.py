"""Keep-alive: pings, pongs, and connections without data."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.aries.protocol.keep_alive import KeepAlive, Timing
from bridge.aries.protocol.session_events import DataMissing
from bridge.aries.protocol.silence import FLOWING_SECONDS, MIN_RECONNECT_SECONDS, SilencePolicy
from bridge.aries.subscriptions.symbols import SymbolType
from bridge.errors import ConnectionLost, DisconnectCause
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
        symbol_types: tuple[SymbolType, ...] = (SymbolType.EQUITY,),
        silence: SilencePolicy | None = None,
        now: float = 100.0,
    ) -> None:
        self.now = now
        self.missing: list[float] = []
        self.late: list[float] = []
        self.ticks = 0
        self.pings: list[float] = []
        self.pongs = pongs
        self.protocol_pongs = protocol_pongs
        self.keep_alive = KeepAlive(timing, pong_expected=documented, now=self.now, silence=silence)
        self.keep_alive.subscribed(symbol_types, self.now)
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
        """Return why the connection was lost in this time, if it was; look at the clock only when something is due."""
        started = received = data = due = self.now
        while self.now < started + seconds:
            self.now += TICK_SECONDS
            if data_every is not None and self.now - data >= data_every:
                data = self.now
                self.data()
            if frame_every is not None and self.now - received >= frame_every:
                received = self.now
                self.receive()
            self._answer()
            if self.now < due:
                continue
            if self.keep_alive.ping_due(self.now):
                self.keep_alive.ping_sent(self.now)
                self.pings.append(round(self.now - 100, 1))
            found = self.keep_alive.check(self.now)
            if isinstance(found, ConnectionLost):
                return found.cause
            if found is not None:
                (self.missing if isinstance(found, DataMissing) else self.late).append(round(self.now - 100))
            due = self.keep_alive.next_tick
            self.ticks += 1
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


@pytest.mark.parametrize(("status", "data_every"), [(CLOSED, None), (OPEN, 1.0)], ids=["closed", "flowing"])
def test_a_healthy_connection_is_looked_at_only_for_its_pings(
    status: dict[str, object], data_every: float | None
) -> None:
    """Each look wakes an idle process: one for a ping, one for its answer, and one where data could be missing."""
    watch = Watch(status=status)
    assert watch.run(610, data_every=data_every) is None
    assert len(watch.pings) == 20
    assert watch.ticks <= 3 * len(watch.pings) + 1


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
    assert watch.run(610, data_every=data_every) is None


@pytest.mark.parametrize(
    ("documented", "pongs", "protocol_pongs"), [(True, False, True), (True, True, False), (True, False, False)]
)
def test_a_missing_pong_is_reported_while_data_flows(documented: bool, pongs: bool, protocol_pongs: bool) -> None:  # noqa: FBT001 - a case
    """Data proves that the connection is alive: the missing answer is reported once, and pings go on."""
    watch = Watch(documented=documented, pongs=pongs, protocol_pongs=protocol_pongs)
    assert watch.run(600, data_every=1) is None
    assert watch.late == [40]
    assert len(watch.pings) >= 14
    watch.pongs = watch.protocol_pongs = True
    assert watch.run(60, data_every=1) is None
    watch.pongs = watch.protocol_pongs = False
    assert watch.run(60, data_every=1) is None
    assert len(watch.late) == 2


def test_a_missing_pong_without_data_is_a_loss() -> None:
    """Data before the ping proves nothing, nor do other frames if the answer is documented."""
    watch = Watch(documented=True)
    assert watch.run(29, data_every=1) is None
    watch.pongs = watch.protocol_pongs = False
    assert watch.run(15, frame_every=1) is DisconnectCause.PONG_TIMEOUT


def test_pongs_are_required_after_the_first_one() -> None:
    """A server that answered a ping once has to answer the others, documented or not."""
    watch = Watch(documented=False)
    assert watch.run(31) is None
    watch.pongs = False
    assert watch.run(60, frame_every=1) is DisconnectCause.PONG_TIMEOUT


def test_the_protocol_pong_is_required_in_addition() -> None:
    """Application pongs are not sufficient, as RFC 6455 requires every endpoint to answer pings."""
    watch = Watch(documented=True, protocol_pongs=False)
    assert watch.run(60) is DisconnectCause.PONG_TIMEOUT


def test_undocumented_pongs_may_be_missing_if_other_frames_are_received() -> None:
    """If a server never answered a ping, any frame after the ping counts as an answer."""
    watch = Watch(documented=False, pongs=False, protocol_pongs=False, status=CLOSED)
    assert watch.run(HOUR_SECONDS, frame_every=5) is None
    assert watch.run(41) is DisconnectCause.PONG_TIMEOUT


EXTENDED = {**CLOSED, "market": "extended-hours"}
AFTER_HOURS = {**CLOSED, "afterHours": True}
EQUITY, OPTION, INDEX = SymbolType.EQUITY, SymbolType.OPTION, SymbolType.INDEX


@pytest.mark.parametrize("status", [OPEN, EXTENDED, None, AFTER_HOURS])
def test_missing_data_leads_to_a_ping_then_to_subscribing_again_then_to_a_reconnect(
    status: dict[str, object] | None,
) -> None:
    """Answered pings do not replace data of equities unless the market is closed; each step takes longer silence."""
    watch = Watch(status=status, timing=Timing(ping_interval_seconds=1e6))
    assert watch.run(59.8) is None
    assert watch.pings == []
    assert watch.run(1) is None
    assert watch.pings == pytest.approx([60], abs=0.2)
    assert watch.missing == [60]
    assert watch.run(118) is None
    assert watch.run(3) is DisconnectCause.STALE
    assert watch.pings == pytest.approx([60, 180], abs=1)


def test_missing_data_and_a_missing_pong_are_a_dead_connection() -> None:
    """Only an answered ping makes silence something to be patient with."""
    watch = Watch(pongs=False, protocol_pongs=False, timing=Timing(ping_interval_seconds=1e6))
    assert watch.run(71) is DisconnectCause.PONG_TIMEOUT
    assert watch.missing == []


@pytest.mark.parametrize(
    ("symbol_types", "status", "expected"),
    [
        ((OPTION,), OPEN, True),
        ((INDEX,), OPEN, True),
        ((OPTION, INDEX), EXTENDED, False),
        ((OPTION, INDEX), AFTER_HOURS, False),
        ((OPTION, INDEX), {**OPEN, "earlyHours": True}, False),
        ((OPTION, INDEX), None, False),
        ((OPTION, INDEX), {"market": "halted"}, False),
        ((OPTION, EQUITY), EXTENDED, True),
        ((OPTION, EQUITY), None, True),
        ((OPTION, EQUITY), CLOSED, False),
        ((), OPEN, False),
    ],
)
def test_data_is_expected_by_the_hours_of_the_symbols(
    symbol_types: tuple[SymbolType, ...],
    status: dict[str, object] | None,
    expected: bool,  # noqa: FBT001 - a case
) -> None:
    """Options and indices are traded in regular hours only, and unknown hours may be any."""
    watch = Watch(symbol_types=symbol_types, status=status)
    assert watch.keep_alive.data_expected is expected
    assert watch.run(HOUR_SECONDS) is (DisconnectCause.STALE if expected else None)
    assert bool(watch.missing) is expected


def test_quiet_symbols_are_borne_with_growing_patience() -> None:
    """Over a day without data, reconnects are minutes apart at least, and soon an hour."""
    silence, now, lost = SilencePolicy(60), 100.0, []
    subscribed_again = 0
    while now < 24 * HOUR_SECONDS:
        watch = Watch(silence=silence, now=now, timing=Timing(ping_interval_seconds=600.0))
        if watch.run(24 * HOUR_SECONDS - now) is not None:
            lost.append(watch.now)
        now = watch.now
        subscribed_again += len(watch.missing)
    pauses = [later - earlier for earlier, later in pairwise(lost)]
    assert all(pause >= MIN_RECONNECT_SECONDS for pause in pauses)
    assert pauses == sorted(pauses) or min(pauses[3:]) > HOUR_SECONDS
    assert 5 <= len(lost) <= 20
    assert 5 <= subscribed_again <= 20


def test_the_state_that_answers_a_subscription_ends_no_patience() -> None:
    """Symbols that are quiet, but whose state is sent again each time, are subscribed more and more rarely."""
    watch = Watch(timing=Timing(ping_interval_seconds=1e6))
    while watch.now < 8 * HOUR_SECONDS:
        before = len(watch.missing)
        assert watch.run(TICK_SECONDS) is None
        if len(watch.missing) > before:
            watch.data()
    pauses = [later - earlier for earlier, later in pairwise(watch.missing)]
    assert pauses[:6] == pytest.approx([120, 240, 480, 960, 1920, 3600], abs=3)
    assert len(watch.missing) <= 14


def test_data_that_flows_ends_the_patience() -> None:
    """After some minutes without a pause a silence is noticed as early as at first."""
    watch = Watch()
    assert watch.run(100) is None
    assert watch.missing == [60]
    assert watch.run(FLOWING_SECONDS + 100, data_every=5) is None
    started = watch.now
    assert watch.run(90) is None
    assert watch.missing[1:] == pytest.approx([started + 60 - 100], abs=6)


def test_reconnects_for_silence_are_minutes_apart_whatever_flows_between() -> None:
    """Even if data flows for a while after each of them."""
    silence = SilencePolicy(1)
    lost = []
    now = 100.0
    while now < 2 * HOUR_SECONDS:
        watch = Watch(silence=silence, now=now, timing=Timing(stale_after_seconds=1.0, ping_interval_seconds=600))
        assert watch.run(FLOWING_SECONDS / 10, data_every=0.5) is None
        if watch.run(HOUR_SECONDS) is not None:
            lost.append(watch.now)
        now = watch.now
    assert len(lost) >= 2
    assert all(later - earlier >= MIN_RECONNECT_SECONDS for earlier, later in pairwise(lost))


def test_data_ends_a_silence() -> None:
    """One update is enough, and the next silence begins with subscribing again."""
    watch = Watch()
    assert watch.run(170) is None
    watch.data()
    assert watch.run(170) is None
    assert watch.missing == [60, 290]


def test_messages_without_data_end_no_silence() -> None:
    """Frames without data do not replace data."""
    assert Watch().run(190, frame_every=1) is DisconnectCause.STALE


def test_the_close_of_the_market_ends_a_silence() -> None:
    """A market that closes explains it."""
    watch = Watch()
    assert watch.run(65) is None
    watch.keep_alive.market_status_received(CLOSED, watch.now)
    assert watch.run(HOUR_SECONDS) is None
    assert watch.missing == [60]


def test_silence_counts_from_the_opening() -> None:
    """A night without data does not count in the next morning, nor do extended hours for options."""
    for symbol_types, before in (((EQUITY,), CLOSED), ((OPTION,), EXTENDED)):
        watch = Watch(status=before, symbol_types=symbol_types)
        assert watch.run(HOUR_SECONDS) is None
        watch.keep_alive.market_status_received(OPEN, watch.now)
        assert watch.run(59) is None
        assert watch.missing == []
        assert watch.run(12) is None
        assert len(watch.missing) == 1


def test_a_repeated_market_status_is_no_data() -> None:
    """Neither a status that repeats "open" nor one without a state hides that data is missing."""
    watch = Watch()
    for _ in range(35):
        assert watch.run(5) is None
        watch.keep_alive.market_status_received(OPEN, watch.now)
        watch.keep_alive.market_status_received({"market": None}, watch.now)
    assert watch.missing == [60]
    assert watch.run(10) is DisconnectCause.STALE


def test_staleness_can_be_disabled_and_needs_subscriptions() -> None:
    """With ``stale_after_seconds`` 0, or without subscriptions, a connection never counts as stale."""
    for watch in (Watch(timing=Timing(stale_after_seconds=0.0)), Watch(symbol_types=())):
        assert watch.run(HOUR_SECONDS) is None
        assert watch.missing == []


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


@pytest.mark.parametrize(
    ("status", "regular"),
    [
        ({"market": "open"}, True),
        ({"market": "closed"}, False),
        ({"market": "extended-hours"}, False),
        ({"market": "open", "afterHours": True}, False),
        ({"market": "open", "earlyHours": True}, False),
        ({"market": None}, None),
    ],
)
def test_only_in_regular_hours_every_symbol_is_traded(status: dict[str, object], *, regular: bool | None) -> None:
    """Before and after them most symbols are quiet; a server may not send its hours."""
    assert Watch(status=status).keep_alive.in_regular_hours is regular


def test_a_protocol_ping_is_taken_once() -> None:
    """Each ping is sent once."""
    keep_alive = Watch().keep_alive
    assert not keep_alive.take_protocol_ping()
    keep_alive.ping_sent(1.0)
    assert keep_alive.take_protocol_ping()
    assert not keep_alive.take_protocol_ping()


def test_the_times_of_the_first_and_last_data_are_kept() -> None:
    """They show for how long the session received data."""
    keep_alive = Watch().keep_alive
    assert [keep_alive.data_received(now) for now in (5.0, 6.0, 9.0)] == [True, False, False]
    assert (keep_alive.first_data, keep_alive.last_data) == (5.0, 9.0)
