"""The frames of a connection: their rate and their order."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.aries.protocol.keep_alive import Timing
from bridge.aries.protocol.messages import Ping
from bridge.aries.protocol.outgoing import PONG_SHARE, WINDOW_SECONDS, Outgoing, Priority
from bridge.aries.protocol.session_events import Subscribed
from tests.aries.protocol.wire import EnvelopeWire, SessionDriver, Wire, drive, line


def paced(wire: Wire, *symbols: str, frames_per_second: int) -> SessionDriver:
    """Return a session that sends no more than so many frames a second, and no pings."""
    return SessionDriver(wire, *symbols, timing=Timing(1e9, 10.0, 0.0, frames_per_second))


def test_no_more_frames_than_allowed_are_taken_in_any_second() -> None:
    """The rest waits in its order until a second has passed since as many frames before."""
    outgoing = Outgoing(3)
    for number in range(8):
        outgoing.add(b"%d" % number)
    assert outgoing.take(10.0) == [b"0", b"1", b"2"]
    assert outgoing.take(10.9) == []
    assert outgoing.take(11.2) == [b"3", b"4", b"5"]
    assert outgoing.take_place(11.5) is False
    assert outgoing.take_place(13.0) is True
    assert outgoing.take(13.0) == [b"6", b"7"]
    assert outgoing.take(99.0) == []


def test_a_token_goes_before_pings_and_these_before_requests() -> None:
    """Within a priority the order is kept."""
    outgoing = Outgoing(10)
    outgoing.add(b"request 1")
    outgoing.add(b"ping", Priority.KEEP_ALIVE)
    outgoing.add(b"token", Priority.TOKEN)
    outgoing.add_pong(b"pong", 0.0)
    outgoing.add(b"request 2")
    assert outgoing.requests_wait
    assert outgoing.take(0.0) == [b"token", b"ping", b"pong", b"request 1", b"request 2"]
    assert not outgoing.requests_wait


def test_frames_are_new_until_they_are_taken_once() -> None:
    """Frames that wait for the clock are no reason to look at them again before it."""
    outgoing = Outgoing(1)
    assert not outgoing.has_new
    outgoing.add(b"1")
    outgoing.add(b"2")
    assert outgoing.has_new
    outgoing.take(0.0)
    assert not outgoing.has_new
    assert outgoing.requests_wait


def test_a_request_that_waits_can_be_withdrawn() -> None:
    """One that was taken cannot."""
    outgoing = Outgoing(1)
    outgoing.add(b"1")
    outgoing.add(b"2")
    assert outgoing.take(0.0) == [b"1"]
    assert outgoing.withdraw(b"2")
    assert not outgoing.withdraw(b"1")
    assert not outgoing.requests_wait


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.sampled_from(["add", "ping", "place", "take"]), st.floats(0, 2)), max_size=60),
)
def test_the_rate_holds_whatever_happens(rate: int, steps: list[tuple[str, float]]) -> None:
    """In no second more frames are taken, and no frame but a surplus pong is lost."""
    outgoing, now, taken, added, frames = Outgoing(rate), 0.0, deque[float](), 0, 0
    for what, seconds in steps:
        now += seconds
        if what == "add":
            outgoing.add(b"x")
            added += 1
        elif what == "ping":
            outgoing.add_pong(b"pong", now)
        else:
            count = int(outgoing.take_place(now)) if what == "place" else len(found := outgoing.take(now))
            frames += 0 if what == "place" else found.count(b"x")
            taken += [now] * count
        assert all(later - first >= 1 for first, later in zip(taken, list(taken)[rate:], strict=False))
    while outgoing.requests_wait:
        now += WINDOW_SECONDS
        frames += outgoing.take(now).count(b"x")
    assert frames == added


# -- in a session ----------------------------------------------------------------------------------------------------


def test_many_requests_are_paced(wire: Wire) -> None:
    """Five thousand symbols are requested at the allowed rate; answers are due once all requests are sent."""
    driver = paced(wire, *(f"S{number}" for number in range(5000)), frames_per_second=2)
    driver.receive(wire.accepted(driver.authenticate()))
    sent = [len(driver.sent())]
    for _ in range(140):
        driver.wait(0.1)
        sent.append(len(driver.sent()))
    assert sum(sent) == 25
    assert all(sum(sent[at : at + 10]) <= 2 for at in range(len(sent)))
    events = driver.events()
    assert not any(isinstance(event, Subscribed) for event in events)
    driver.wait(4.9)
    assert driver.events() == [Subscribed(5000, ())]


@pytest.mark.parametrize("request_id", ["p7", 7, None])
def test_a_ping_of_the_server_is_answered(wire: Wire, request_id: str | int | None) -> None:
    """The answer has its id, if it has one."""
    driver = drive(wire)
    driver.settle()
    sent = wire.ping(request_id)
    ((raw, message),) = driver.session.receive(sent, driver.now)
    assert (raw, message) == (sent, Ping(request_id))
    assert Ping.counted_as == "ping"
    (pong,) = driver.sent()
    expected: dict[str, object] = (
        {"type": "pong"} if isinstance(wire, EnvelopeWire) else {"action": "ping", "message": "pong"}
    )
    assert pong == expected | ({} if request_id is None else {"id": request_id})


@pytest.mark.parametrize("request_id", ["x" * 201, 2**64, -(2**63), [], {"a": 1}, True])
def test_an_id_that_is_none_is_not_returned(wire: Wire, request_id: object) -> None:
    """The server does not choose how much is sent to it."""
    driver = drive(wire)
    driver.settle()
    driver.receive(wire.ping(request_id))
    (pong,) = driver.sent()
    assert "id" not in pong


def test_a_ping_in_an_event_is_answered() -> None:
    """The newer dialect wraps other messages of the server in events."""
    driver = drive(EnvelopeWire())
    driver.settle()
    driver.receive(line({"type": "event", "payload": {"action": "ping", "id": "p7"}}))
    assert driver.sent() == [{"type": "pong", "id": "p7"}]


def test_a_flood_of_pings_delays_no_request(wire: Wire) -> None:
    """Only a share of the frames are answers, and no answers pile up."""
    driver = paced(wire, *(f"S{number}" for number in range(2000)), frames_per_second=8)
    driver.receive(wire.accepted(driver.authenticate()))
    pongs = requests = 0
    for _ in range(30):
        driver.receive(*[wire.ping("p")] * 100)
        driver.wait(0.1)
        found = driver.sent()
        pongs += sum("pong" in frame.values() for frame in found)
        requests += sum("subscribe" in frame.values() for frame in found)
    assert requests == 10
    assert 3 <= pongs <= 4 * 8 // PONG_SHARE


def test_a_ping_of_the_server_proves_that_it_is_alive(wire: Wire) -> None:
    """If it pings instead of answering, the connection is kept; it is not expected to answer from then on."""
    driver = SessionDriver(wire, "AAPL", timing=Timing(30.0, 10.0, 0.0))
    driver.settle()
    expected = driver.session.keep_alive._pong_expected
    for _ in range(10):
        driver.wait(30)
        driver.session.keep_alive.protocol_pong_received(driver.now)
        driver.receive(wire.ping("p"))
        driver.wait(1)
        driver.sent()
    assert driver.session.lost is None
    assert driver.session.keep_alive._pong_expected is expected


def test_pings_go_before_requests_that_wait(wire: Wire) -> None:
    """Both kinds of ping are sent in time, however many requests there are."""
    timing = Timing(2.0, 10.0, 0.0, 3)
    driver = SessionDriver(wire, *(f"S{number}" for number in range(20_000)), timing=timing)
    driver.receive(wire.accepted(driver.authenticate()))
    pings = protocol_pings = 0
    for _ in range(120):
        driver.now += 0.1
        driver.session.tick(driver.now)
        if driver.session.take_protocol_ping(driver.now):  # as the client does, before it takes frames
            protocol_pings += 1
            driver.receive(wire.pong())
            driver.session.keep_alive.protocol_pong_received(driver.now)
        pings += sum("ping" in frame.values() for frame in driver.sent())
    assert driver.session.lost is None
    assert pings >= 4
    assert protocol_pings >= 4
