"""The frames, batches, events and pings of a session, in both dialects."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from bridge.aries.protocol.messages import AuthAccepted, Heartbeat
from bridge.aries.protocol.session import BATCH_BYTES, BATCH_LINES
from bridge.aries.protocol.session_events import Authenticated, DataMissing, DataStarted, ServerError, Subscribed
from bridge.aries.subscriptions import plan
from bridge.errors import BadLine, DisconnectCause
from bridge.market_data import Line, Update
from tests.aries.protocol.wire import (
    CLOSED,
    OPEN,
    SessionDriver,
    Wire,
    drive,
    symbols_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def test_events_keep_the_order_of_a_frame(wire: Wire) -> None:
    """A frame is handled line by line, and each line is returned with its message."""
    driver = drive(wire, "AAPL")
    request = driver.authenticate()
    ack = wire.ack({"id": "sub-002", "action": "subscribe"})
    lines = [wire.accepted(request), b"{bad", wire.status(OPEN), wire.quote("AAPL"), ack, wire.error(None, "oh")]
    found = driver.session.receive(b"\r\n".join(lines) + b"\n\n", driver.now)
    assert [raw.rstrip(b"\r") for raw, _ in found] == lines
    assert [type(event) for _, event in found][:4] == [AuthAccepted, BadLine, Update, Update]
    assert driver.events() == [
        Authenticated(again=False, expires_in_seconds=None),
        DataStarted(),
        Subscribed(1, ()),
        ServerError("oh"),
    ]
    assert driver.session.has_pending_work


def test_market_status_does_not_start_data(wire: Wire) -> None:
    """Only market data does, and only the first is reported."""
    driver = drive(wire)
    driver.start()
    driver.events()
    driver.receive(wire.status(OPEN), wire.status(CLOSED))
    assert driver.events() == []
    driver.receive(wire.quote("AAPL"), wire.quote("MSFT"))
    assert driver.events() == [DataStarted()]


def test_an_idle_session_has_no_pending_work(wire: Wire) -> None:
    """The client need not look at an idle session; a loss is pending work."""
    driver = drive(wire)
    request = driver.authenticate()
    assert not driver.session.has_pending_work
    driver.receive(wire.rejected(request))
    assert driver.session.has_pending_work


# -- batches ---------------------------------------------------------------------------------------------------------


def test_many_lines_are_handled_in_batches(wire: Wire) -> None:
    """In one frame or in many, no batch is much longer than its limit."""
    driver = drive(wire)
    driver.settle()
    symbols = [f"S{number}" for number in range(1000)]
    quotes = [wire.quote(symbol) for symbol in symbols]
    tens = [b"\n".join(quotes[at : at + 10]) for at in range(0, len(quotes), 10)]
    for frames in ([b"\n".join(quotes)], quotes, tens, [b"\r\n", *tens]):
        waiting = deque(frames)
        received: list[Line] = []
        while waiting:
            lines, before_event = driver.session.receive_some(waiting, driver.now)
            assert len(lines) < 2 * BATCH_LINES
            assert before_event == len(lines) or not received  # the first data of the session is an event
            received += lines
            driver.events()
        assert [event.symbol for _, event in received if isinstance(event, Update)] == symbols


def test_a_line_with_a_session_event_ends_the_batch(wire: Wire) -> None:
    """It is distinguished from the lines before it, and those behind it are left: they may be of another session."""
    driver = drive(wire)
    driver.settle()
    driver.receive(wire.quote("AAPL"))
    driver.events()
    driver.sent()
    mixed = b"\n".join((wire.quote("B"), wire.error(None, "something is wrong"), wire.quote("C")))
    frames = deque((wire.quote("A"), mixed, wire.quote("D")))
    lines, before_event = driver.session.receive_some(frames, driver.now)
    assert (len(lines), before_event) == (3, 2)
    assert driver.events() == [ServerError("something is wrong")]
    assert list(frames) == [wire.quote("C"), wire.quote("D")]


class CountedFrame(bytes):
    """A frame that counts the bytes that are copied out of it or searched."""

    work = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        self.work += len(found)
        return found

    def split(self, *arguments: Any) -> list[bytes]:
        self.work += len(self)
        return super().split(*arguments)

    def find(self, sub: Any, start: Any = 0, *end: Any) -> int:
        found = super().find(sub, start, *end)
        self.work += (len(self) if found < 0 else found + 1) - start
        return found

    def count(self, *arguments: Any) -> int:
        self.work += len(self)
        return super().count(*arguments)

    def __contains__(self, key: Any) -> bool:
        found = super().find(key)
        self.work += len(self) if found < 0 else found + 1
        return found >= 0


LONG_FRAMES = {
    "blank": b"\n",
    "blank with carriage returns": b"\r\n",
    "spaces": b" " * 100 + b"\n",
    "one byte": b"x\n",
    "objects": b'{"a":1}\n',
    "long lines": b'"' + b"x" * 10_000 + b'"\n',
    "no line at all": b" ",
}
LONG_FIRST_LINE = b"[" + b" " * 40_000 + b"]\n"


@pytest.mark.parametrize("long_first_line", [False, True])
@pytest.mark.parametrize("sort", sorted(LONG_FRAMES))
def test_the_work_for_a_frame_grows_with_its_bytes(wire: Wire, sort: str, long_first_line: bool) -> None:  # noqa: FBT001 - a case
    """A frame of twice the size is twice the work, whatever its bytes, and no turn does more of it than a batch."""
    work = {}
    for size in (50_000, 100_000, 200_000, 400_000):
        driver = drive(wire)
        driver.settle()
        line_of = LONG_FRAMES[sort]
        first = LONG_FIRST_LINE if long_first_line else b""
        frame = CountedFrame(first + line_of * (size // len(line_of)))
        waiting: deque[bytes] = deque((frame,))
        turns = 0
        while waiting:
            before = frame.work
            driver.session.receive_some(waiting, driver.now)
            turns += 1
            most = 4 * min(len(frame), BATCH_LINES * len(line_of) + len(line_of) + len(first) * (turns == 1)) + 100
            # the first turn may look at the whole frame once, to learn whether it is one batch
            assert frame.work - before <= most + 2 * len(frame) * (turns == 1)
        work[size] = frame.work
        assert frame.work <= 5 * len(frame)
        if line_of.strip():
            assert turns >= frame.count(b"\n") // BATCH_LINES
    assert work[400_000] <= 9 * work[50_000]


def test_blank_frames_count_in_a_batch(wire: Wire) -> None:
    """Thousands of frames without a line are more than one turn's work, too."""
    driver = drive(wire)
    driver.settle()
    for blank in (b"", b" ", b"\n", b"\r\n\r\n"):
        frames = deque([blank] * 1000)
        driver.session.receive_some(frames, driver.now)
        assert len(frames) >= 1000 - BATCH_LINES


def test_a_turn_ends_after_many_bytes(wire: Wire) -> None:
    """Of a frame with long lines, a turn handles fewer of them than of short ones."""
    driver = drive(wire)
    driver.settle()
    long_line = b'"' + b"x" * 100_000 + b'"'
    lines, _ = driver.session.receive_some(deque([b"\n".join([long_line] * 60)]), driver.now)
    assert BATCH_BYTES <= sum(len(raw) for raw, _ in lines) <= BATCH_BYTES + 2 * len(long_line)


@pytest.mark.parametrize("around", ["alone", "between lines", "with a byte order mark"])
def test_an_array_is_its_elements(wire: Wire, around: str) -> None:
    """Each element is a line of its own, in its place, valid or not; an array in the array is not split again."""
    driver = drive(wire)
    driver.settle()
    inner = b"[" + wire.quote("IN") + b"]"
    elements = [wire.quote("A"), b'{"a":', wire.status(OPEN), b"1", wire.error(None, "oh"), inner, wire.quote("B")]
    elements[1] = b'{"bad":tru}'
    array, before, behind = b"[" + b",".join(elements) + b"]", wire.quote("X"), wire.quote("Y")
    frame = {"between lines": b"\n".join((before, array, b"", behind))}.get(around, array)
    frame = b"\xef\xbb\xbf" + frame + b"\0" if around == "with a byte order mark" else frame
    found = driver.session.receive(frame, driver.now)
    expected = [before, *elements, behind] if around == "between lines" else elements
    assert [raw for raw, _ in found] == expected
    kinds = {raw: type(message) for raw, message in found}
    assert (kinds[elements[0]], kinds[elements[1]], kinds[b"1"], kinds[inner]) == (Update, BadLine, Heartbeat, BadLine)
    assert driver.events() == [DataStarted(), ServerError("oh")]


def test_a_long_array_is_handled_in_batches(wire: Wire) -> None:
    """So are arrays in a frame of many lines, and what is behind them keeps its place."""
    driver = drive(wire)
    driver.settle()
    driver.receive(wire.quote("S0"))
    driver.events()
    symbols = [f"S{number}" for number in range(1000)]
    quotes = [wire.quote(symbol) for symbol in symbols]
    arrays = [b"[" + b",".join(quotes[at : at + 100]) + b"]" for at in range(0, len(quotes), 100)]
    mixed = [b"\n".join((*quotes[:300], *arrays[3:6], *quotes[600:]))]
    for frames in ([b"[" + b",".join(quotes) + b"]"], arrays, [b"\n".join(arrays)], mixed):
        waiting = deque(frames)
        received: list[Line] = []
        while waiting:
            lines, before_event = driver.session.receive_some(waiting, driver.now)
            assert before_event == len(lines) < 2 * BATCH_LINES
            received += lines
        assert [event.symbol for _, event in received if isinstance(event, Update)] == symbols


def test_the_work_for_an_array_grows_with_its_elements(wire: Wire) -> None:
    """An array of any length is split as it is handled, not at once."""
    driver = drive(wire)
    driver.settle()
    waiting = deque([b"[" + b"1," * 1_000_000 + b"1]"])
    for turn in range(1, 100):
        lines, _ = driver.session.receive_some(waiting, driver.now)
        assert len(lines) == BATCH_LINES
        assert driver.session._array_offset == 1 + 2 * BATCH_LINES * turn


@pytest.mark.parametrize("word", [b"pong", b"h", b"\x01", b"1", b"[]", b'"heartbeat"', b'{"type":"Heartbeat"}'])
def test_a_heartbeat_is_filtered(wire: Wire, word: bytes) -> None:
    """Whether the session is authenticated or not, it is a line without market data, and no dead letter."""
    driver = drive(wire)
    for _ in range(2):
        ((raw, message),) = driver.session.receive(word + b"\n\0", driver.now)
        assert (raw, message) == (word, Heartbeat())
        driver.settle()
        driver.receive(wire.quote("AAPL"))
    assert Heartbeat.counted_as == "heartbeat"


def test_nan_costs_no_line(wire: Wire) -> None:
    """The update has the text, and all its other fields."""
    driver = drive(wire)
    driver.settle()
    quote = wire.quote("AAPL").replace(b'"symbol"', b'"bidSize":NaN,"askPrice":-Infinity,"symbol"')
    for _ in range(2):
        ((raw, update),) = driver.session.receive(b"\xef\xbb\xbf" + quote, driver.now)
        assert raw == b"\xef\xbb\xbf" + quote
        assert isinstance(update, Update)
        assert (update.fields["bidSize"], update.fields["askPrice"]) == ("NaN", "-Infinity")


# -- keep-alive ------------------------------------------------------------------------------------------------------


def test_pings_are_sent_and_their_pongs_keep_the_session(wire: Wire) -> None:
    """Both kinds of ping are sent by the interval; if answered, they keep a quiet session in a closed market."""
    driver = SessionDriver(wire, "AAPL")
    driver.start()
    driver.receive(wire.status(CLOSED))
    pings = 0
    for _ in range(600):
        driver.wait(1)
        pings += len(driver.sent())
        if driver.session.keep_alive.take_protocol_ping():
            driver.receive(wire.pong())
            driver.session.keep_alive.protocol_pong_received(driver.now)
    assert driver.session.lost is None
    assert pings == 20


def test_a_dead_connection_is_detected(wire: Wire) -> None:
    """Without any answer the connection is lost, whether the market is open or not."""
    driver = SessionDriver(wire, "AAPL")
    driver.start()
    driver.receive(wire.status(CLOSED))
    driver.wait(41)
    assert driver.session.lost is not None
    assert driver.session.lost.cause is DisconnectCause.PONG_TIMEOUT


def answer_pings(driver: SessionDriver, seconds: float) -> None:
    """Let time pass, and answer each ping at once."""
    until = driver.now + seconds
    while driver.session.lost is None and driver.now < until:
        driver.wait(0.5)
        if driver.session.keep_alive.take_protocol_ping():
            driver.receive(driver.wire.pong())
            driver.session.keep_alive.protocol_pong_received(driver.now)


def test_a_silent_server_is_subscribed_to_again_and_then_given_up(wire: Wire) -> None:
    """In an open market, answered pings without data lead to the same requests, then to the loss."""
    driver = SessionDriver(wire, "AAPL", "MSFT", "SPX")
    first = driver.start()
    driver.receive(*(wire.ack(request) for request in first))
    driver.receive(wire.status(OPEN), wire.quote("AAPL"))
    driver.events()
    answer_pings(driver, 65)
    again = driver.sent()
    assert symbols_of(again) == symbols_of(first)
    missing, *_ = driver.events()
    assert isinstance(missing, DataMissing)
    driver.receive(*(wire.ack(request) for request in again if "ping" not in request.values()))
    assert driver.events() == [Subscribed(3, ())]
    answer_pings(driver, 130)
    assert driver.session.lost is not None
    assert driver.session.lost.cause is DisconnectCause.STALE
    assert "nor after subscribing again" in str(driver.session.lost)


def test_no_data_is_expected_of_rejected_symbols(wire: Wire) -> None:
    """A session whose symbols are all rejected is silent for good, and is kept."""
    driver = SessionDriver(wire, "AAPL")
    (request,) = driver.start()
    driver.receive(wire.status(OPEN), wire.error(request, "unknown symbol"))
    driver.events()
    answer_pings(driver, 3600)
    assert driver.session.lost is None
    assert symbols_of(driver.sent()) == []
    driver.session.replan(plan(["MSFT"], ["quotes"]), driver.now)
    answer_pings(driver, 65)
    assert symbols_of(driver.sent()) == ["MSFT", "MSFT"]


def test_data_that_implies_authentication_asks_for_a_tick(wire: Wire) -> None:
    """The client sleeps until the timeout of the answer, and the subscriptions are to be sent now."""
    driver = drive(wire)
    driver.authenticate()
    driver.wait(1)
    assert not driver.session.wants_tick
    driver.receive(wire.quote("AAPL"))
    assert driver.session.wants_tick


@pytest.mark.parametrize(
    "change",
    [
        lambda driver: driver.receive(driver.wire.status(OPEN)),
        lambda driver: driver.receive(driver.wire.ping()),
        lambda driver: driver.receive(driver.wire.auth_event("authRequired")),
        lambda driver: driver.session.replan(plan(("IBM",), ("quotes",)), driver.now),
        lambda driver: driver.session.authenticate("token", driver.now),
        lambda driver: driver.session.token_unavailable(driver.now),
    ],
    ids=["market status", "ping", "token required", "plan", "token", "no token"],
)
def test_what_changes_the_next_tick_asks_for_one(wire: Wire, change: Callable[[SessionDriver], object]) -> None:
    """The client sleeps until the tick that was due before; market data changes nothing about it."""
    driver = drive(wire)
    driver.settle()
    driver.wait(1)
    driver.receive(wire.quote("AAPL"))
    driver.wait(1)
    driver.receive(wire.quote("AAPL"))
    assert not driver.session.wants_tick
    change(driver)
    assert driver.session.wants_tick
