"""Tokens, their answers, and the lifetime of a session, in both dialects."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from bridge.aries.protocol.action import Action
from bridge.aries.protocol.keep_alive import Timing
from bridge.aries.protocol.session import Session
from bridge.aries.protocol.session_events import Authenticated, DataStarted, ServerError, Subscribed
from bridge.aries.subscriptions import plan
from bridge.errors import BadLine, DisconnectCause
from tests.aries.protocol.wire import (
    CLOSED,
    EnvelopeWire,
    SessionDriver,
    Wire,
    drive,
    line,
    symbols_of,
)


def test_a_session_authenticates_and_then_subscribes(wire: Wire) -> None:
    """Only the token is sent before the server accepts it; then all symbols are requested."""
    driver = drive(wire)
    driver.wait(1)
    assert driver.sent() == []
    request = driver.authenticate("secret")
    assert "secret" in json.dumps(request)
    driver.wait(1)
    assert driver.sent() == []
    assert not driver.session.authenticated
    driver.receive(wire.accepted(request))
    assert driver.session.authenticated
    requests = driver.sent()
    assert symbols_of(requests) == ["AAPL", "MSFT"]
    assert driver.events() == [Authenticated(again=False, expires_in_seconds=None)]
    driver.receive(*(wire.ack(one) for one in requests))
    assert driver.events() == [Subscribed(2, ())]


def test_an_unreadable_api_key_leaves_the_session_as_it_was() -> None:
    """The error is raised to the caller, and nothing is sent."""

    def unreadable() -> str:
        raise OSError("gone")

    session = Session(Action(unreadable), plan(["A"], ["quotes"]), Timing(), 0.0)
    with pytest.raises(OSError, match="gone"):
        session.authenticate("token", 0.0)
    assert session.take_outgoing(0.0) == []
    session.tick(60.0)
    assert session.lost is None


def test_a_rejected_token_ends_the_connection(wire: Wire) -> None:
    """The loss has the cause and the server's text, and not the token."""
    driver = drive(wire)
    driver.receive(wire.rejected(driver.authenticate("secret")))
    assert driver.session.lost is not None
    assert driver.session.lost.cause is DisconnectCause.AUTH_REFUSED
    assert "authentication failed" in str(driver.session.lost)
    assert "secret" not in str(driver.session.lost)
    assert not driver.session.authenticated
    driver.wait(60)
    assert driver.sent() == []


def test_an_error_without_an_id_rejects_the_first_token(wire: Wire) -> None:
    """While no other request is pending, an error without an id is about the token."""
    driver = drive(wire)
    driver.authenticate()
    driver.receive(wire.error(None, "token is required"))
    assert driver.session.lost is not None
    assert driver.session.lost.cause is DisconnectCause.AUTH_REFUSED


def test_no_answer_to_the_token_ends_the_connection(wire: Wire) -> None:
    """The answer to the first token has a deadline."""
    driver = drive(wire)
    driver.authenticate()
    driver.wait(9.8)
    assert driver.session.lost is None
    driver.wait(0.4)
    assert driver.session.lost is not None
    assert driver.session.lost.cause is DisconnectCause.AUTH_TIMEOUT


def test_auth_required_while_the_first_token_is_pending_requires_no_other(wire: Wire) -> None:
    """On a new connection ``authRequired`` asks for what is already sent."""
    driver = drive(wire)
    request = driver.authenticate()
    driver.receive(wire.auth_event("authRequired"))
    driver.wait(1)
    assert not driver.session.token_required
    driver.receive(wire.accepted(request))
    driver.wait(1)
    assert not driver.session.token_required
    assert symbols_of(driver.sent()) == ["AAPL", "MSFT"]


@pytest.mark.parametrize("status_first", [False, True])
def test_data_implies_that_the_token_was_accepted(wire: Wire, status_first: bool) -> None:  # noqa: FBT001 - a case
    """The session starts with the first data, and the answer's deadline no longer matters."""
    driver = drive(wire)
    driver.authenticate()
    driver.receive(line({"unknown": "message"}), *([wire.status(CLOSED)] if status_first else []), wire.quote("AAPL"))
    assert driver.events() == [Authenticated(again=False, expires_in_seconds=None, implied=True), DataStarted()]
    assert symbols_of(driver.sent()) == ["AAPL", "MSFT"]
    driver.wait(60)
    assert driver.session.lost is None
    assert not driver.session.token_required


def test_a_late_acceptance_sets_the_lifetime_of_a_session_that_started_with_data(wire: Wire) -> None:
    """Nothing is subscribed twice."""
    driver = drive(wire)
    request = driver.authenticate()
    driver.receive(wire.status(CLOSED))
    driver.sent()
    driver.receive(wire.accepted(request, 100_000))
    assert driver.sent() == []
    driver.wait(79)
    assert not driver.session.token_required
    driver.wait(2)
    assert driver.session.token_required


def test_a_late_rejection_counts_after_data(wire: Wire) -> None:
    """A server that sends every client the market's status may reject the token after that."""
    driver = drive(wire)
    request = driver.authenticate()
    driver.receive(wire.status(CLOSED), wire.rejected(request))
    driver.wait(1)
    assert driver.session.token_required
    driver.receive(wire.rejected(driver.authenticate("newer")))
    assert driver.session.lost is not None
    assert driver.session.lost.cause is DisconnectCause.AUTH_REFUSED


def test_a_session_of_unknown_lifetime_is_renewed_before_its_token_expires(wire: Wire) -> None:
    """The token's lifetime is used only if the server does not report that of the session."""
    driver = drive(wire)
    driver.receive(wire.accepted(driver.authenticate(life_seconds=100)))
    driver.wait(79)
    assert not driver.session.token_required
    driver.wait(2)
    assert driver.session.token_required
    driver.receive(wire.accepted(driver.authenticate(life_seconds=100), 200_000))
    driver.wait(150)
    assert not driver.session.token_required


@pytest.mark.parametrize("answered", [True, False])
def test_a_renewal_that_the_server_did_not_ask_for_costs_no_session(wire: Wire, answered: bool) -> None:  # noqa: FBT001 - a case
    """If the server rejects or ignores it, the session continues and the next token is sent in its time."""
    driver = drive(wire)
    driver.receive(wire.accepted(driver.authenticate(life_seconds=100)))
    driver.wait(10)
    driver.events()
    for _ in range(3):
        driver.wait(81)
        assert driver.session.token_required
        request = driver.authenticate("newer", life_seconds=100)
        if answered:
            driver.receive(wire.rejected(request, "already authenticated"))
            assert driver.events() == [ServerError("already authenticated")]
        else:
            driver.wait(11)
        assert driver.session.lost is None


def test_data_outside_a_session_is_a_bad_line(wire: Wire) -> None:
    """Data after a rejection, or before a token was sent, starts no session and becomes no record."""
    driver = drive(wire)
    ((_, event),) = driver.session.receive(wire.quote("AAPL"), driver.now)
    assert isinstance(event, BadLine)
    driver.receive(wire.accepted({"id": "auth-001"}))
    assert not driver.session.authenticated
    request = driver.authenticate()
    _, (_, event) = driver.session.receive(wire.rejected(request) + b"\n" + wire.quote("AAPL"), driver.now)
    assert isinstance(event, BadLine)
    assert (event.reason, event.symbol) == ("no_session", "AAPL")
    assert driver.events() == []


def test_an_ack_of_the_auth_request_accepts_the_token() -> None:
    """The request may be answered by a response instead of an event."""
    driver = drive(EnvelopeWire())
    request = driver.authenticate()
    driver.receive(line({"type": "response", "id": request["id"], "payload": {}}))
    assert driver.events() == [Authenticated(again=False, expires_in_seconds=None)]


# -- the lifetime of a session ---------------------------------------------------------------------------------------


def test_a_session_is_renewed_after_80_percent_of_its_lifetime(wire: Wire) -> None:
    """A fresh token is required in time, again and again; subscriptions stay."""
    driver = drive(wire)
    driver.start(2_700_000)
    for again in range(3):
        driver.events()
        driver.wait(2159)
        assert not driver.session.token_required
        driver.wait(2)
        assert driver.session.token_required
        expires_in_ms = None if again else 2_700_000  # an unknown lifetime is taken to be the last one
        request = driver.authenticate("newer")
        assert not driver.session.token_required
        driver.receive(wire.accepted(request, expires_in_ms))
        assert Authenticated(again=True, expires_in_seconds=expires_in_ms and 2700.0) in driver.events()
        assert driver.sent() == []


@pytest.mark.parametrize("action", ["refreshAuth", "authExpired", "authRequired"])
def test_a_session_is_renewed_when_the_server_requires_it(wire: Wire, action: str) -> None:
    """Each of the three messages requires a token at once, but not while one is pending."""
    driver = drive(wire)
    driver.start()
    driver.wait(10)
    driver.receive(wire.auth_event(action))
    driver.wait(0.1)
    assert driver.session.token_required
    request = driver.authenticate("newer")
    driver.receive(wire.auth_event(action))
    driver.wait(1)
    assert not driver.session.token_required
    driver.receive(wire.accepted(request))
    assert driver.session.lost is None
    driver.wait(60)
    assert not driver.session.token_required


def test_a_server_that_asks_twice_gets_one_token(wire: Wire) -> None:
    """A request that is repeated while the token is fetched is answered by that token."""
    driver = drive(wire)
    driver.start()
    driver.wait(10)
    driver.receive(wire.auth_event("refreshAuth"))
    driver.wait(1)
    driver.receive(wire.auth_event("refreshAuth"))
    driver.authenticate("newer")
    driver.wait(1)
    assert not driver.session.token_required


@pytest.mark.parametrize(("action", "symbols"), [("refreshAuth", []), ("authExpired", ["AAPL", "MSFT"])])
def test_an_expired_session_is_subscribed_again(wire: Wire, action: str, symbols: list[str]) -> None:
    """A warning leaves the subscriptions as they are; after an expiry it is not known what is left of them."""
    driver = drive(wire)
    driver.start()
    driver.wait(10)
    driver.events()
    driver.receive(wire.auth_event(action))
    driver.receive(wire.accepted(driver.authenticate("newer")))
    assert symbols_of(driver.sent()) == symbols
    assert driver.events() == [Authenticated(again=True, expires_in_seconds=None, expired=bool(symbols))]


def tokens_sent(driver: SessionDriver, seconds: int, *, expires_in_ms: int | None, asked: str | None) -> list[float]:
    """Return when tokens were required in this time, each of which the server accepts at once."""
    required = []
    for _ in range(seconds):
        if asked is not None:
            driver.receive(driver.wire.auth_event(asked))
        driver.wait(1)
        if driver.session.token_required:
            required.append(driver.now)
            driver.receive(driver.wire.accepted(driver.authenticate("newer"), expires_in_ms))
    return required


@pytest.mark.parametrize("asked", ["refreshAuth", "authRequired", "authExpired"])
@pytest.mark.parametrize("expires_in_ms", [None, 1, 2_700, 2_700_000])
def test_a_server_that_keeps_asking_gets_few_tokens(wire: Wire, asked: str, expires_in_ms: int | None) -> None:
    """They are at least 30 s apart, and rarer each time, however often it asks and however soon they expire."""
    driver = drive(wire)
    driver.start(expires_in_ms)
    required = tokens_sent(driver, 3600, expires_in_ms=expires_in_ms, asked=asked)
    pauses = [later - earlier for earlier, later in pairwise(required)]
    assert pauses == sorted(pauses)
    assert 30 <= pauses[0] <= 32
    assert pauses[-1] >= 600
    assert len(required) <= 11
    assert driver.session.lost is None


def test_a_server_that_asks_every_few_minutes_gets_each_token_at_once(wire: Wire) -> None:
    """Sessions may be short, and the warnings late."""
    driver = drive(wire)
    driver.start()
    for _ in range(20):
        driver.wait(61)
        driver.receive(wire.auth_event("refreshAuth"))
        driver.wait(0.1)
        assert driver.session.token_required
        driver.receive(wire.accepted(driver.authenticate("newer")))


@pytest.mark.parametrize(("expires_in_ms", "ignored_seconds"), [(2_700, 2.7), (59_000, 59.0), (2_700_000_000, 2.7e6)])
def test_an_implausible_lifetime_counts_as_unknown(wire: Wire, expires_in_ms: int, ignored_seconds: float) -> None:
    """For example, seconds that are read as milliseconds: an event reports it, and no token is sent because of it."""
    driver = drive(wire)
    driver.start(expires_in_ms)
    assert driver.events() == [
        Authenticated(again=False, expires_in_seconds=None, ignored_life_seconds=ignored_seconds)
    ]
    assert tokens_sent(driver, 3600, expires_in_ms=expires_in_ms, asked=None) == []


def test_a_renewal_rejected_once_is_repeated_with_a_newer_token(wire: Wire) -> None:
    """One rejection does not end a live session; an acceptance starts over."""
    driver = drive(wire)
    driver.start()
    for _ in range(3):
        driver.wait(10)
        driver.receive(wire.auth_event("refreshAuth"))
        driver.receive(wire.rejected(driver.authenticate("old")))
        assert driver.session.lost is None
        driver.wait(0.1)
        assert driver.session.token_required
        driver.receive(wire.accepted(driver.authenticate("newer")))
    assert driver.session.lost is None


def test_a_renewal_rejected_twice_ends_the_connection(wire: Wire) -> None:
    """After two rejections in a row no other token is tried."""
    driver = drive(wire)
    driver.start(60_000)
    for token in ("old", "newer"):
        assert driver.session.lost is None
        driver.receive(wire.rejected(driver.authenticate(token)))
    assert driver.session.lost is not None
    assert driver.session.lost.cause is DisconnectCause.AUTH_REFUSED


def test_a_renewal_without_a_token_is_repeated_later(wire: Wire) -> None:
    """If no token is available, the session continues and requires one again."""
    driver = drive(wire)
    driver.start(100_000)
    driver.wait(81)
    assert driver.session.token_required
    driver.session.token_unavailable(driver.now)
    assert not driver.session.token_required
    driver.wait(9)
    assert not driver.session.token_required
    driver.wait(2)
    assert driver.session.token_required


def test_an_unanswered_renewal_is_repeated_until_the_session_expires(wire: Wire) -> None:
    """A missing answer ends the connection only after the session has expired."""
    driver = drive(wire)
    driver.start(100_000)
    driver.wait(81)
    driver.authenticate("newer")
    driver.wait(15)
    assert not driver.session.token_required
    driver.wait(6)
    assert driver.session.token_required
    driver.authenticate("newest")
    driver.wait(9)
    assert driver.session.lost is None
    driver.wait(2)
    assert driver.session.lost is not None
    assert driver.session.lost.cause is DisconnectCause.AUTH_TIMEOUT


def test_data_after_the_expiry_implies_that_a_renewal_was_accepted(wire: Wire) -> None:
    """The renewal had an answer that is not known."""
    driver = drive(wire)
    driver.start(100_000)
    driver.events()
    while driver.session.lost is None and driver.now < 1000 + 115:
        driver.wait(1)
        driver.receive(wire.quote("AAPL"))
        if driver.session.token_required:
            driver.authenticate("newer")
    assert driver.session.lost is None
    assert Authenticated(again=True, expires_in_seconds=None, implied=True) in driver.events()
    assert driver.sent() == []


def test_a_warning_limits_a_session_of_unknown_lifetime(wire: Wire) -> None:
    """After an unanswered warning the session is taken to expire, so that a dead one is not kept for ever."""
    driver = drive(wire)
    driver.start()
    driver.receive(wire.auth_event("refreshAuth"))
    for _ in range(400):
        driver.wait(1)
        if driver.session.token_required:
            driver.authenticate("newer")
    assert driver.session.lost is not None
    assert driver.session.lost.cause is DisconnectCause.AUTH_TIMEOUT


def test_the_first_loss_is_kept(wire: Wire) -> None:
    """What is received after the loss does not change its cause."""
    driver = drive(wire)
    driver.receive(wire.rejected(driver.authenticate(), "first"))
    lost = driver.session.lost
    driver.receive(wire.rejected({"id": "auth-001"}, "second"))
    driver.wait(60)
    assert driver.session.lost is lost
