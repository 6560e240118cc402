"""Tokens, their answers, and the lifetime of a session, in both dialects."""

from __future__ import annotations

import json

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
    Wire,
    line,
    symbols_of,
    talk_to,
)


def test_a_session_authenticates_and_then_subscribes(wire: Wire) -> None:
    """Only the token is sent before the server accepts it; then all symbols are requested."""
    talk = talk_to(wire)
    talk.wait(1)
    assert talk.sent() == []
    request = talk.ask("secret")
    assert "secret" in json.dumps(request)
    talk.wait(1)
    assert talk.sent() == []
    assert not talk.session.authenticated
    talk.hear(wire.accepted(request))
    assert talk.session.authenticated
    requests = talk.sent()
    assert symbols_of(requests) == ["AAPL", "MSFT"]
    assert talk.events() == [Authenticated(again=False, expires_in_seconds=None)]
    talk.hear(*(wire.ack(one) for one in requests))
    assert talk.events() == [Subscribed(2, ())]


def test_an_unreadable_api_key_leaves_the_session_as_it_was() -> None:
    """The error is raised to the caller, and nothing is sent."""

    def unreadable() -> str:
        raise OSError("gone")

    session = Session(Action(unreadable), plan(["A"], ["quotes"]), Timing(), 0.0)
    with pytest.raises(OSError, match="gone"):
        session.authenticate("token", 0.0)
    assert session.take_outgoing() == []
    session.tick(60.0)
    assert session.lost is None


def test_a_rejected_token_ends_the_connection(wire: Wire) -> None:
    """The loss has the cause and the server's text, and not the token."""
    talk = talk_to(wire)
    talk.hear(wire.rejected(talk.ask("secret")))
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.AUTH_REFUSED
    assert "authentication failed" in str(talk.session.lost)
    assert "secret" not in str(talk.session.lost)
    assert not talk.session.authenticated
    talk.wait(60)
    assert talk.sent() == []


def test_an_error_without_an_id_rejects_the_first_token(wire: Wire) -> None:
    """While no other request is pending, an error without an id is about the token."""
    talk = talk_to(wire)
    talk.ask()
    talk.hear(wire.error(None, "token is required"))
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.AUTH_REFUSED


def test_no_answer_to_the_token_ends_the_connection(wire: Wire) -> None:
    """The answer to the first token has a deadline."""
    talk = talk_to(wire)
    talk.ask()
    talk.wait(9.8)
    assert talk.session.lost is None
    talk.wait(0.4)
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.AUTH_TIMEOUT


def test_auth_required_while_the_first_token_is_pending_requires_no_other(wire: Wire) -> None:
    """On a new connection ``authRequired`` asks for what is already sent."""
    talk = talk_to(wire)
    request = talk.ask()
    talk.hear(wire.word("authRequired"))
    talk.wait(1)
    assert not talk.session.token_required
    talk.hear(wire.accepted(request))
    talk.wait(1)
    assert not talk.session.token_required
    assert symbols_of(talk.sent()) == ["AAPL", "MSFT"]


@pytest.mark.parametrize("status_first", [False, True])
def test_data_implies_that_the_token_was_accepted(wire: Wire, status_first: bool) -> None:  # noqa: FBT001 - a case
    """The session starts with the first data, and the answer's deadline no longer matters."""
    talk = talk_to(wire)
    talk.ask()
    talk.hear(line({"unknown": "message"}), *([wire.status(CLOSED)] if status_first else []), wire.quote("AAPL"))
    assert talk.events() == [Authenticated(again=False, expires_in_seconds=None, implied=True), DataStarted()]
    assert symbols_of(talk.sent()) == ["AAPL", "MSFT"]
    talk.wait(60)
    assert talk.session.lost is None
    assert not talk.session.token_required


def test_a_late_acceptance_sets_the_lifetime_of_a_session_that_started_with_data(wire: Wire) -> None:
    """Nothing is subscribed twice."""
    talk = talk_to(wire)
    request = talk.ask()
    talk.hear(wire.status(CLOSED))
    talk.sent()
    talk.hear(wire.accepted(request, 100_000))
    assert talk.sent() == []
    talk.wait(79)
    assert not talk.session.token_required
    talk.wait(2)
    assert talk.session.token_required


def test_a_late_rejection_counts_after_data(wire: Wire) -> None:
    """A server that sends every client the market's status may reject the token after that."""
    talk = talk_to(wire)
    request = talk.ask()
    talk.hear(wire.status(CLOSED), wire.rejected(request))
    talk.wait(1)
    assert talk.session.token_required
    talk.hear(wire.rejected(talk.ask("newer")))
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.AUTH_REFUSED


def test_a_session_of_unknown_lifetime_is_renewed_before_its_token_expires(wire: Wire) -> None:
    """The token's lifetime counts only if the server does not say how long the session lasts."""
    talk = talk_to(wire)
    talk.hear(wire.accepted(talk.ask(life_seconds=100)))
    talk.wait(79)
    assert not talk.session.token_required
    talk.wait(2)
    assert talk.session.token_required
    talk.hear(wire.accepted(talk.ask(life_seconds=100), 200_000))
    talk.wait(150)
    assert not talk.session.token_required


@pytest.mark.parametrize("answered", [True, False])
def test_a_renewal_that_the_server_did_not_ask_for_costs_no_session(wire: Wire, answered: bool) -> None:  # noqa: FBT001 - a case
    """If the server rejects or ignores it, the session continues and the next token is sent in its time."""
    talk = talk_to(wire)
    talk.hear(wire.accepted(talk.ask(life_seconds=100)))
    talk.wait(10)
    talk.events()
    for _ in range(3):
        talk.wait(81)
        assert talk.session.token_required
        request = talk.ask("newer", life_seconds=100)
        if answered:
            talk.hear(wire.rejected(request, "already authenticated"))
            assert talk.events() == [ServerError("already authenticated")]
        else:
            talk.wait(11)
        assert talk.session.lost is None


def test_data_outside_a_session_is_a_bad_line(wire: Wire) -> None:
    """Data after a rejection, or before a token was sent, starts no session and becomes no record."""
    talk = talk_to(wire)
    ((_, event),) = talk.session.receive(wire.quote("AAPL"), talk.now)
    assert isinstance(event, BadLine)
    talk.hear(wire.accepted({"id": "auth-001"}))
    assert not talk.session.authenticated
    request = talk.ask()
    _, (_, event) = talk.session.receive(wire.rejected(request) + b"\n" + wire.quote("AAPL"), talk.now)
    assert isinstance(event, BadLine)
    assert (event.reason, event.symbol) == ("no_session", "AAPL")
    assert talk.events() == []


def test_an_ack_of_the_auth_request_accepts_the_token() -> None:
    """The request may be answered by a response instead of an event."""
    talk = talk_to(EnvelopeWire())
    request = talk.ask()
    talk.hear(line({"type": "response", "id": request["id"], "payload": {}}))
    assert talk.events() == [Authenticated(again=False, expires_in_seconds=None)]


# -- the lifetime of a session ---------------------------------------------------------------------------------------


def test_a_session_is_renewed_after_80_percent_of_its_lifetime(wire: Wire) -> None:
    """A fresh token is required in time, again and again; subscriptions stay."""
    talk = talk_to(wire)
    talk.begin(2_700_000)
    for again in range(3):
        talk.events()
        talk.wait(2159, step=10)
        assert not talk.session.token_required
        talk.wait(2)
        assert talk.session.token_required
        expires_in_ms = None if again else 2_700_000  # an unknown lifetime is taken to be the last one
        request = talk.ask("newer")
        assert not talk.session.token_required
        talk.hear(wire.accepted(request, expires_in_ms))
        assert Authenticated(again=True, expires_in_seconds=expires_in_ms and 2700.0) in talk.events()
        assert talk.sent() == []


@pytest.mark.parametrize("word", ["refreshAuth", "authExpired", "authRequired"])
def test_a_session_is_renewed_when_the_server_requires_it(wire: Wire, word: str) -> None:
    """Each of the three messages requires a token at once, but not while one is pending."""
    talk = talk_to(wire)
    talk.begin()
    talk.wait(10)
    talk.hear(wire.word(word))
    talk.wait(0.1)
    assert talk.session.token_required
    request = talk.ask("newer")
    talk.hear(wire.word(word))
    talk.wait(1)
    assert not talk.session.token_required
    talk.hear(wire.accepted(request))
    assert talk.session.lost is None
    talk.wait(60)
    assert not talk.session.token_required


def test_a_server_that_asks_twice_gets_one_token(wire: Wire) -> None:
    """A request that is repeated while the token is fetched is answered by that token."""
    talk = talk_to(wire)
    talk.begin()
    talk.wait(10)
    talk.hear(wire.word("refreshAuth"))
    talk.wait(1)
    talk.hear(wire.word("refreshAuth"))
    talk.ask("newer")
    talk.wait(1)
    assert not talk.session.token_required


@pytest.mark.parametrize(("word", "symbols"), [("refreshAuth", []), ("authExpired", ["AAPL", "MSFT"])])
def test_an_expired_session_is_subscribed_again(wire: Wire, word: str, symbols: list[str]) -> None:
    """A warning leaves the subscriptions as they are; after an expiry it is not known what is left of them."""
    talk = talk_to(wire)
    talk.begin()
    talk.wait(10)
    talk.events()
    talk.hear(wire.word(word))
    talk.hear(wire.accepted(talk.ask("newer")))
    assert symbols_of(talk.sent()) == symbols
    assert talk.events() == [Authenticated(again=True, expires_in_seconds=None, expired=bool(symbols))]


def test_tokens_are_sent_with_a_minimum_interval(wire: Wire) -> None:
    """However often the server asks, and however short a lifetime it grants."""
    talk = talk_to(wire)
    talk.begin(1)
    tokens = 0
    for _ in range(100):
        talk.hear(wire.word("refreshAuth"))
        talk.wait(0.1)
        if talk.session.token_required:
            tokens += 1
            talk.hear(wire.accepted(talk.ask(), 1))
    assert 10 <= tokens <= 20


def test_a_renewal_rejected_once_is_repeated_with_a_newer_token(wire: Wire) -> None:
    """One rejection does not end a live session; an acceptance starts over."""
    talk = talk_to(wire)
    talk.begin()
    for _ in range(3):
        talk.wait(10)
        talk.hear(wire.word("refreshAuth"))
        talk.hear(wire.rejected(talk.ask("old")))
        assert talk.session.lost is None
        talk.wait(0.1)
        assert talk.session.token_required
        talk.hear(wire.accepted(talk.ask("newer")))
    assert talk.session.lost is None


def test_a_renewal_rejected_twice_ends_the_connection(wire: Wire) -> None:
    """After two rejections in a row no other token is tried."""
    talk = talk_to(wire)
    talk.begin(60_000)
    for token in ("old", "newer"):
        assert talk.session.lost is None
        talk.hear(wire.rejected(talk.ask(token)))
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.AUTH_REFUSED


def test_a_renewal_without_a_token_is_repeated_later(wire: Wire) -> None:
    """If no token is available, the session continues and requires one again."""
    talk = talk_to(wire)
    talk.begin(100_000)
    talk.wait(81)
    assert talk.session.token_required
    talk.session.token_unavailable(talk.now)
    assert not talk.session.token_required
    talk.wait(9)
    assert not talk.session.token_required
    talk.wait(2)
    assert talk.session.token_required


def test_an_unanswered_renewal_is_repeated_until_the_session_expires(wire: Wire) -> None:
    """A missing answer ends the connection only after the session has expired."""
    talk = talk_to(wire)
    talk.begin(100_000)
    talk.wait(81)
    talk.ask("newer")
    talk.wait(15)
    assert not talk.session.token_required
    talk.wait(6)
    assert talk.session.token_required
    talk.ask("newest")
    talk.wait(9)
    assert talk.session.lost is None
    talk.wait(2)
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.AUTH_TIMEOUT


def test_data_after_the_expiry_implies_that_a_renewal_was_accepted(wire: Wire) -> None:
    """The renewal had an answer that is not known."""
    talk = talk_to(wire)
    talk.begin(100_000)
    talk.events()
    while talk.session.lost is None and talk.now < 1000 + 115:
        talk.wait(1)
        talk.hear(wire.quote("AAPL"))
        if talk.session.token_required:
            talk.ask("newer")
    assert talk.session.lost is None
    assert Authenticated(again=True, expires_in_seconds=None, implied=True) in talk.events()
    assert talk.sent() == []


def test_a_warning_limits_a_session_of_unknown_lifetime(wire: Wire) -> None:
    """After an unanswered warning the session is taken to expire, so that a dead one is not kept for ever."""
    talk = talk_to(wire)
    talk.begin()
    talk.hear(wire.word("refreshAuth"))
    for _ in range(400):
        talk.wait(1)
        if talk.session.token_required:
            talk.ask("newer")
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.AUTH_TIMEOUT


def test_the_first_loss_is_kept(wire: Wire) -> None:
    """What is received after the loss does not change its cause."""
    talk = talk_to(wire)
    talk.hear(wire.rejected(talk.ask(), "first"))
    lost = talk.session.lost
    talk.hear(wire.rejected({"id": "auth-001"}, "second"))
    talk.wait(60)
    assert talk.session.lost is lost
