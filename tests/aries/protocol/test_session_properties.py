"""What holds for a session whatever is received, and in whatever order."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge.aries.protocol.keep_alive import Timing
from bridge.aries.protocol.messages import Message
from bridge.aries.protocol.ndjson import content
from bridge.aries.protocol.session_events import SessionEvent
from bridge.aries.protocol.subscribing import SubscribeState
from bridge.aries.subscriptions import plan
from bridge.errors import BadLine
from bridge.market_data import Update
from tests.aries.protocol.documents import DOCUMENTS
from tests.aries.protocol.wire import CLOSED, MANY_FRAMES, OPEN, ActionWire, EnvelopeWire, SessionDriver, Wire

WIRES = [ActionWire(), EnvelopeWire()]
FRAMES = st.lists(DOCUMENTS.map(lambda one: json.dumps(one).encode()) | st.binary(max_size=20), max_size=4).map(
    b"\n".join
)
PLANS = st.builds(
    plan,
    st.lists(st.sampled_from(["AAPL", "MSFT", "SPX", "NVDA"]), min_size=1, unique=True),
    st.sampled_from([["quotes", "trades"], ["trades"], ["trades", "l2", "timesales"]]),
)


#: About a symbol, about none, about too many, and from a server that has no time.
ERRORS = ["no", "unknown symbol: AAPL", "MSFT: no rights", "symbol limit exceeded", "rate limit", "internal error"]


def without_delimiters(text: bytes) -> bytes:
    return text.translate(None, b"[],{} \0\r\n\t\v\f\xef\xbb\xbf")


def is_blank(line: bytes) -> bool:
    return not line.strip(b"\0 \r\t\v\f").removeprefix(b"\xef\xbb\xbf").strip(b"\0 \r\t\v\f")


def is_of(message: dict[str, object], word: str) -> bool:
    return word in (message.get("action"), message.get("type"))


def is_auth(message: dict[str, object]) -> bool:
    return is_of(message, "auth") or is_of(message, "request")


@pytest.mark.parametrize("wire", WIRES, ids=["action", "envelope"])
@given(frames=st.lists(FRAMES, max_size=5))
def test_receive_never_raises_and_loses_no_line(wire: Wire, frames: list[bytes]) -> None:
    """Of any bytes in any order, each line that is not blank is returned once, with a message or a reason.

    An array is returned as its elements.
    """
    driver = SessionDriver(wire, "AAPL")
    driver.authenticate()
    for frame in frames:
        found = driver.session.receive(frame, driver.now)
        if any(content(line).startswith(b"[") for line in frame.split(b"\n")):
            assert without_delimiters(b"".join(line for line, _ in found)) == without_delimiters(frame)
        else:
            assert [line for line, _ in found] == [line for line in frame.split(b"\n") if content(line)]
        assert all(isinstance(event, (*get_args(Message), BadLine)) for _, event in found)
        driver.wait(1)


def is_pong(message: dict[str, object]) -> bool:
    return "pong" in (message.get("type"), message.get("message"))


class AnyOrder(RuleBasedStateMachine):
    """A server, a clock and a client that act in any order."""

    @initialize(wire=st.sampled_from(WIRES), rate=st.sampled_from([1, 4, MANY_FRAMES]))
    def connect(self, wire: Wire, rate: int) -> None:
        self.driver = SessionDriver(wire, "AAPL", "MSFT", timing=Timing(max_frames_per_second=rate))
        self.rate = rate
        self.sent_at: list[float] = []
        self.requests: list[dict[str, object]] = []
        self.lost: object = None
        self.ids: set[object] = set()
        self.authenticate()

    def authenticate(self) -> None:
        self.driver.session.authenticate("token", self.driver.now)
        assert not self.driver.session.token_required

    # -- what may happen ----------------------------------------------------------------------------------------

    @rule(frame=FRAMES)
    def receive_anything(self, frame: bytes) -> None:
        self.driver.receive(frame)

    @rule(expires_in_ms=st.none() | st.integers(1, 100_000))
    def accept(self, expires_in_ms: int | None) -> None:
        self.driver.receive(self.driver.wire.accepted(self.newest("auth"), expires_in_ms))

    @rule(text=st.sampled_from(["authentication failed", "too many connections", "internal error"]))
    def reject(self, text: str) -> None:
        self.driver.receive(self.driver.wire.rejected(self.newest("auth"), text))

    @rule(word=st.sampled_from(["authRequired", "refreshAuth", "authExpired"]))
    def require_a_token(self, word: str) -> None:
        self.driver.receive(self.driver.wire.auth_event(word))

    @rule()
    def acknowledge(self) -> None:
        self.driver.receive(self.driver.wire.ack(self.newest("subscribe")))

    @rule(named=st.booleans(), text=st.sampled_from(ERRORS))
    def send_error(self, named: bool, text: str) -> None:  # noqa: FBT001 - drawn
        self.driver.receive(self.driver.wire.error(self.newest("subscribe") if named else None, text))

    @rule(is_open=st.booleans())
    def send_status(self, is_open: bool) -> None:  # noqa: FBT001 - drawn
        self.driver.receive(self.driver.wire.status(OPEN if is_open else CLOSED))

    @rule()
    def send_quote(self) -> None:
        ((_, event),) = self.driver.session.receive(self.driver.wire.quote("AAPL"), self.driver.now)
        assert isinstance(event, Update) is self.driver.session.authenticated

    @rule(application=st.booleans(), protocol=st.booleans())
    def answer_pings(self, application: bool, protocol: bool) -> None:  # noqa: FBT001 - drawn
        if self.driver.session.take_protocol_ping(self.driver.now):
            self.sent_at.append(self.driver.now)
        if application:
            self.driver.receive(self.driver.wire.pong())
        if protocol:
            self.driver.session.keep_alive.protocol_pong_received(self.driver.now)

    @rule(request_id=st.sampled_from([None, "p7", 7]), count=st.integers(1, 20))
    def send_pings(self, request_id: object, count: int) -> None:
        self.driver.receive(*[self.driver.wire.ping(request_id)] * count)

    @rule(seconds=st.floats(0, 30))
    def let_time_pass(self, seconds: float) -> None:
        self.driver.now += seconds
        self.driver.session.tick(self.driver.now)

    @rule(new=PLANS)
    def change_plan(self, new: object) -> None:
        self.driver.session.replan(new, self.driver.now)  # type: ignore[arg-type]  # a plan, drawn

    @precondition(lambda self: self.driver.session.token_required)
    @rule(available=st.booleans())
    def answer_token_required(self, available: bool) -> None:  # noqa: FBT001 - drawn
        if available:
            self.authenticate()
        else:
            self.driver.session.token_unavailable(self.driver.now)
            assert not self.driver.session.token_required

    # -- what must hold -----------------------------------------------------------------------------------------

    @invariant()
    def messages_are_in_order(self) -> None:
        session = self.driver.session
        new = self.driver.sent()
        if not session.authenticated:
            assert all(is_auth(message) or is_pong(message) for message in new)
        self.requests += new
        self.sent_at += [self.driver.now] * len(new)
        new_ids = [message["id"] for message in new if "id" in message and not is_pong(message)]
        assert len(set(new_ids)) == len(new_ids)
        assert self.ids.isdisjoint(new_ids)
        self.ids |= set(new_ids)

    @invariant()
    def the_rate_is_kept(self) -> None:
        sent_at = self.sent_at[-3 * self.rate :]
        assert all(later - first >= 1 for first, later in zip(sent_at, sent_at[self.rate :], strict=False))

    @invariant()
    def events_are_typed(self) -> None:
        assert all(isinstance(event, get_args(SessionEvent)) for event in self.driver.events())
        assert not self.driver.session._events

    @invariant()
    def a_loss_is_for_good(self) -> None:
        if self.lost is not None:
            assert self.driver.session.lost is self.lost
        self.lost = self.driver.session.lost

    @invariant()
    def counts_are_possible(self) -> None:
        session = self.driver.session
        assert session.rejected_symbols <= session._subscribing.plan.keys()
        assert 0 <= session.subscribed_symbols <= len(session._subscribing.plan)

    @invariant()
    def queued_requests_have_a_deadline(self) -> None:
        subscribing = self.driver.session._subscribing
        if subscribing._queued:
            assert subscribing.state in (SubscribeState.PAUSED, SubscribeState.RETRYING)
            assert subscribing._deadline is not None

    @invariant()
    def one_token_is_pending_at_most(self) -> None:
        session = self.driver.session
        assert not (session.token_required and session._authentication.answer_pending)

    def newest(self, word: str) -> dict[str, object]:
        """Return the newest request of this kind, as the server has it."""
        sort = is_auth if word == "auth" else lambda message: is_of(message, word)
        nothing: dict[str, object] = {"id": "none", "action": word}
        return next((message for message in reversed(self.requests) if sort(message)), nothing)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
