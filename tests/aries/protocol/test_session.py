"""A session from authentication to its end, in both dialects."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING

import pytest

from bridge.aries.protocol.action import Action
from bridge.aries.protocol.keep_alive import Timing
from bridge.aries.protocol.messages import AuthAccepted
from bridge.aries.protocol.session import BATCH_LINES, Session
from bridge.aries.protocol.session_events import Authenticated, DataStarted, ServerError, Subscribed, SymbolRejected
from bridge.aries.protocol.subscribing import GRACE_SECONDS
from bridge.aries.subscriptions import plan
from bridge.errors import BadLine, DisconnectCause
from bridge.market_data import Line, Update
from tests.aries.protocol.wire import OPEN, STATUS, ActionWire, EnvelopeWire, Talk, Wire, line

if TYPE_CHECKING:
    from bridge.aries.protocol.session_events import SessionEvent

CLOSED: dict[str, object] = dict(STATUS)
#: Without pings and staleness, so that only what a test asks for is sent.
UNHURRIED = Timing(ping_interval_seconds=1e9, stale_after_seconds=0.0)


@pytest.fixture(params=[ActionWire(), EnvelopeWire()], ids=["action", "envelope"])
def wire(request: pytest.FixtureRequest) -> Wire:
    """Return the server's messages in each dialect."""
    messages: Wire = request.param
    return messages


def talk_to(wire: Wire, *symbols: str, **choices: object) -> Talk:
    return Talk(wire, *(symbols or ("AAPL", "MSFT")), timing=UNHURRIED, **choices)  # type: ignore[arg-type]  # a Talk's


def symbols_of(requests: list[dict[str, object]], method: str = "subscribe") -> list[str]:
    """Return the symbols in requests of this method, in their order."""
    matching = [one for one in requests if method in (one.get("type"), one.get("action"))]
    parts = [one["payload"] if isinstance(one.get("payload"), list) else one["data"] for one in matching]
    return [part["symbol"] for one in parts for part in one]  # type: ignore[attr-defined]  # a list


# -- authentication ---------------------------------------------------------------------------------------------


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


# -- the lifetime of a session --------------------------------------------------------------------------------------


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


# -- subscriptions ----------------------------------------------------------------------------------------------


def test_five_thousand_symbols_take_25_requests() -> None:
    """Requests are bounded, their ids differ, and the last acknowledgement settles them."""
    wire = EnvelopeWire()
    talk = talk_to(wire, *(f"S{number}" for number in range(5000)))
    requests = talk.begin()
    assert len({str(one["id"]) for one in requests}) == 25
    assert len(symbols_of(requests)) == len(set(symbols_of(requests))) == 5000
    talk.events()
    talk.hear(*(wire.ack(one) for one in requests[:-1]))
    assert talk.events() == []
    talk.hear(wire.ack(requests[-1]))
    assert talk.events() == [Subscribed(5000, ())]


def test_without_acknowledgements_subscriptions_settle_after_the_grace_period(wire: Wire) -> None:
    """Requests that are not answered count as accepted."""
    talk = talk_to(wire)
    talk.begin()
    talk.events()
    talk.wait(4.8)
    assert talk.events() == []
    talk.wait(0.4)
    assert talk.events() == [Subscribed(2, ())]
    talk.wait(60)
    assert talk.events() == []


class Server:
    """A server that rejects some symbols, in one of the ways in which Aries may do it."""

    def __init__(
        self, talk: Talk, bad: set[str], *, acks: bool = True, takes_rest: bool = False, errors: str = "one"
    ) -> None:
        self.talk = talk
        self.bad = bad
        self.acks = acks
        self.takes_rest = takes_rest
        self.pause_seconds = 0.7 if errors == "each, late" else 0.0
        self.each = errors != "one"
        self.subscribed: set[str] = set()
        self.requests = 0
        self.events: list[SessionEvent] = []

    def serve(self, requests: list[dict[str, object]]) -> None:
        """Answer requests until nothing happens any more."""
        quiet_seconds = 0.0
        while quiet_seconds < GRACE_SECONDS + 1:
            for request in requests:
                self._answer(request)
            self.talk.wait(0.3)
            requests, events = self.talk.sent(), self.talk.events()
            quiet_seconds = 0.0 if requests or events else quiet_seconds + 0.3
            self.events += events

    def _answer(self, request: dict[str, object]) -> None:
        self.requests += 1
        symbols = symbols_of([request])
        bad = [symbol for symbol in symbols if symbol in self.bad]
        if self.takes_rest or not bad:
            self.subscribed |= set(symbols).difference(bad)
        for symbol in bad if self.each else bad[:1]:
            self.talk.hear(self.talk.wire.error(request, f"unknown symbol: {symbol}"))
            self.talk.wait(self.pause_seconds)
        if self.acks and not bad:
            self.talk.hear(self.talk.wire.ack(request))


@pytest.mark.parametrize("acks", [True, False], ids=["acks", "no acks"])
def test_a_rejected_symbol_is_found_by_halves(wire: Wire, acks: bool) -> None:  # noqa: FBT001 - a case
    """A request that is rejected is sent again in halves, until the bad symbol is rejected alone and left out."""
    symbols = [f"S{number}" for number in range(200)]
    symbols[77] = "BAD"
    talk = talk_to(wire, *symbols)
    server = Server(talk, {"BAD"}, acks=acks)
    requests = talk.begin()
    talk.events()
    server.serve(requests)
    assert server.subscribed == set(symbols) - {"BAD"}
    assert server.requests <= 2 * 9
    assert talk.session.rejected_symbols == {"BAD"}
    assert talk.session.subscribed_symbols == 199
    assert server.events == [
        ServerError("unknown symbol: BAD (symbols in the rejected request: 200; retrying in halves)"),
        SymbolRejected("BAD", "unknown symbol: BAD"),
        Subscribed(199, ("BAD",)),
    ]


@pytest.mark.parametrize("acks", [True, False], ids=["acks", "no acks"])
@pytest.mark.parametrize("takes_rest", [True, False], ids=["in part", "whole"])
@pytest.mark.parametrize("errors", ["one", "each", "each, late"])
def test_bad_symbols_cost_no_other_its_subscription(wire: Wire, *, acks: bool, takes_rest: bool, errors: str) -> None:
    """Whether a server takes the rest of a request or nothing of it, and however many errors it sends."""
    equities = [f"S{number}" for number in range(30)]
    options = [f"S{number}290119C00150000" for number in range(30)]
    bad = {*equities[2:20:4], *options[3:30:4]}
    talk = talk_to(wire, *equities, *options)
    server = Server(talk, bad, acks=acks, takes_rest=takes_rest, errors=errors)
    requests = talk.begin()
    server.serve(requests)
    assert server.subscribed == {*equities, *options} - bad
    rejected = [event.symbol for event in server.events if isinstance(event, SymbolRejected)]
    assert sorted(rejected) == sorted(talk.session.rejected_symbols) == sorted(bad)
    subscribed = [event for event in server.events if isinstance(event, Subscribed)]
    assert talk.session.subscribed_symbols == len(server.subscribed)
    if errors != "each, late":  # these last longer than the grace period
        assert subscribed == [Subscribed(len(server.subscribed), tuple(sorted(bad)))]


def test_without_ids_and_acknowledgements_an_error_is_certain_only_for_the_only_request() -> None:
    """Of two requests for one symbol each nothing tells which is rejected, so both are sent again, one by one."""
    wire = ActionWire()
    talk = talk_to(wire, "AAPL", "BAD290119C00150000")
    server = Server(talk, {"BAD290119C00150000"}, acks=False)
    server.serve(talk.begin())
    assert talk.session.rejected_symbols == {"BAD290119C00150000"}


def test_an_error_with_an_id_is_certain_whatever_else_is_pending() -> None:
    """With ids both halves are sent at once, and each is settled by its own answer."""
    wire = EnvelopeWire()
    talk = talk_to(wire, "A", "BAD", "C", "D")
    (request,) = talk.begin()
    talk.hear(wire.error(request, "bad request"))
    first, second = talk.sent()
    talk.hear(wire.error(first, "bad request"), wire.ack(second))
    good, bad = talk.sent()
    talk.hear(wire.error(bad, "unknown symbol"), wire.ack(good))
    assert talk.events()[-2:] == [SymbolRejected("BAD", "unknown symbol"), Subscribed(3, ("BAD",))]


def test_a_second_error_about_a_request_is_reported(wire: Wire) -> None:
    """It blames no other request, nor a half that is sent later."""
    talk = talk_to(wire, "A", "BAD")
    (request,) = talk.begin()
    talk.events()
    talk.hear(wire.error(request, "unknown symbol"), wire.error(request, "try again"))
    assert talk.events()[1:] == [ServerError("try again")]
    assert talk.session.rejected_symbols == set()


def test_what_is_no_longer_wanted_is_not_sent_again(wire: Wire) -> None:
    """A plan that changes while halves wait to be sent applies to them as well."""
    talk = talk_to(wire, "A", "BAD", "C", "D")
    requests = talk.begin()
    talk.hear(*(wire.error(request, "unknown symbol") for request in requests))
    before = talk.sent()
    talk.session.replan(plan(["A", "BAD", "C"], ["quotes", "trades"]), talk.now)
    assert symbols_of(talk.sent(), "unsubscribe") == ["D"]
    server = Server(talk, {"BAD"})
    server.serve(before)
    assert {"A", "C"} <= server.subscribed
    assert talk.session.rejected_symbols == {"BAD"}


def test_new_symbols_wait_while_requests_are_sent_one_at_a_time() -> None:
    """Without ids a request of another plan would make the answers ambiguous again."""
    wire = ActionWire()
    talk = talk_to(wire, "A", "BAD")
    (request,) = talk.begin()
    talk.hear(wire.error(request, "unknown symbol"))
    talk.session.replan(plan(["A", "BAD", "C"], ["quotes", "trades"]), talk.now)
    assert talk.sent() == []
    server = Server(talk, {"BAD"})
    server.serve([])
    assert server.subscribed == {"A", "C"}


def test_an_error_long_after_all_is_settled_is_reported() -> None:
    """Without an id it may be about anything, so that nothing is sent again."""
    wire = ActionWire()
    talk = talk_to(wire)
    talk.begin()
    talk.wait(6)
    talk.events()
    talk.hear(wire.error(None, "AAPL is halted"))
    talk.wait(6)
    assert talk.events() == [ServerError("AAPL is halted")]
    assert (talk.sent(), talk.session.rejected_symbols) == ([], set())


@pytest.mark.parametrize("errors", ["one", "each"])
def test_a_server_that_rejects_everything_is_not_flooded(
    wire: Wire, errors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If every request is rejected, halving has an end."""
    monkeypatch.setattr("bridge.aries.protocol.subscribing.MAX_HALVINGS", 50)
    symbols = {f"S{number}" for number in range(2000)}
    talk = talk_to(wire, *sorted(symbols))
    server = Server(talk, symbols, errors=errors)
    server.serve(talk.begin())
    assert server.requests <= 2 * 10 + 2 * 50  # the first requests may have to be sent twice
    assert talk.session.subscribed_symbols == 0


def test_a_flood_of_rejections_does_not_affect_the_next_plan(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once all is settled, a rejected request is halved again."""
    monkeypatch.setattr("bridge.aries.protocol.subscribing.MAX_HALVINGS", 5)
    symbols = {f"S{number}" for number in range(100)}
    talk = talk_to(wire, *sorted(symbols))
    Server(talk, symbols).serve(talk.begin())
    talk.session.replan(plan(["A", "BAD", "C"], ["quotes", "trades"]), talk.now)
    server = Server(talk, {"BAD"})
    server.serve([one for one in talk.sent() if symbols_of([one])])
    assert server.subscribed == {"A", "C"}


def test_an_answer_to_a_new_plan_is_not_taken_for_one_to_the_old() -> None:
    """Without ids, an answer that comes after the grace period is not expected any more."""
    wire = ActionWire()
    talk = talk_to(wire, "AAPL")
    talk.begin()
    talk.wait(6)
    talk.session.replan(plan(["AAPL", "BAD"], ["quotes", "trades"]), talk.now)
    talk.sent()
    talk.events()
    talk.hear(wire.error(None, "unknown symbol"))
    assert talk.events() == [SymbolRejected("BAD", "unknown symbol"), Subscribed(1, ("BAD",))]


def test_answers_without_ids_mean_the_oldest_request() -> None:
    """In the older dialect answers come in the order of the requests: of three types the second is rejected."""
    wire = ActionWire()
    talk = talk_to(wire, "AAPL", events=("quotes", "timesales", "l2"))
    composite, timesales, level2 = talk.begin()
    talk.events()
    talk.hear(wire.ack(composite), wire.error(timesales, "no time & sales"), wire.ack(level2))
    assert talk.events() == [SymbolRejected("AAPL", "no time & sales"), Subscribed(0, ("AAPL",))]
    assert talk.sent() == []


def test_an_unsubscribe_is_not_taken_for_a_subscribe() -> None:
    """The answer to an unsubscribe request settles no subscription."""
    wire = ActionWire()
    talk = talk_to(wire)
    talk.settle()
    talk.session.replan(plan(["AAPL", "NVDA"], ["quotes", "trades"]), talk.now)
    gone, new = talk.sent()
    talk.events()
    talk.hear(wire.ack(gone))
    assert talk.events() == []
    talk.hear(wire.ack(new))
    assert talk.events() == [Subscribed(2, ())]


def test_an_error_while_nothing_is_pending_is_reported(wire: Wire) -> None:
    """It changes nothing."""
    talk = talk_to(wire)
    talk.begin()
    talk.wait(6)
    talk.events()
    talk.hear(wire.error(None, "something broke"))
    assert talk.events() == [ServerError("something broke")]
    assert talk.sent() == []
    assert talk.session.lost is None


def test_a_late_rejection_with_an_id_counts() -> None:
    """It corrects that the request counted as accepted."""
    wire = EnvelopeWire()
    talk = talk_to(wire, "BAD")
    (request,) = talk.begin()
    talk.wait(6)
    talk.events()
    talk.hear(wire.error(request, "unknown symbol"))
    assert talk.events() == [SymbolRejected("BAD", "unknown symbol")]
    assert talk.session.subscribed_symbols == 0


# -- another plan -----------------------------------------------------------------------------------------------


def test_another_plan_is_applied_by_the_difference(wire: Wire) -> None:
    """Removed symbols are unsubscribed, then new and changed ones are subscribed, and no others."""
    talk = talk_to(wire, "AAPL", "MSFT", "GOOGL")
    talk.settle()
    described = json.dumps([{"symbol": "MSFT", "fields": {"quotes": ["bidPrice"], "trades": ["size"]}}])
    talk.session.replan(plan(["AAPL", "MSFT", "NVDA"], ["quotes", "trades"], described), talk.now)
    requests = talk.sent()
    assert symbols_of(requests, "unsubscribe") == ["GOOGL"]
    assert sorted(symbols_of(requests)) == ["MSFT", "NVDA"]
    assert "unsubscribe" in requests[0].values()
    assert "bidPrice" in json.dumps(requests)
    talk.hear(*(wire.ack(one) for one in requests))
    assert talk.events() == [Subscribed(3, ())]


def test_the_same_plan_sends_nothing(wire: Wire) -> None:
    """Without a difference there is no request and no event."""
    talk = talk_to(wire)
    talk.settle()
    talk.session.replan(plan(["AAPL", "MSFT"], ["quotes", "trades"]), talk.now)
    assert talk.sent() == []
    assert talk.events() == []


def test_fewer_symbols_need_no_acknowledgement(wire: Wire) -> None:
    """If symbols are only removed, the session is settled at once."""
    talk = talk_to(wire)
    talk.settle()
    talk.session.replan(plan(["AAPL"], ["quotes", "trades"]), talk.now)
    assert symbols_of(talk.sent(), "unsubscribe") == ["MSFT"]
    assert talk.events() == [Subscribed(1, ())]


def test_removed_events_are_unsubscribed_only_if_subscriptions_add_up() -> None:
    """The older dialect has a subscription for each type, the newer one for each symbol."""
    for wire, unsubscribed in ((ActionWire(), ["AAPL"]), (EnvelopeWire(), [])):
        talk = talk_to(wire, "AAPL", events=("quotes", "l2"))
        talk.settle()
        talk.session.replan(plan(["AAPL"], ["quotes"]), talk.now)
        requests = talk.sent()
        assert symbols_of(requests, "unsubscribe") == unsubscribed
        assert [one["type"] for one in requests if one.get("action") == "unsubscribe"] == ["level2"][
            : len(unsubscribed)
        ]
        assert symbols_of(requests) == ["AAPL"]
        assert "level2" not in json.dumps(requests[-1])


def test_a_plan_that_changes_before_the_session_starts_is_used(wire: Wire) -> None:
    """The plan of the time when the token is accepted is subscribed to."""
    talk = talk_to(wire)
    request = talk.ask()
    talk.session.replan(plan(["NVDA"], ["quotes"]), talk.now)
    assert talk.sent() == []
    talk.hear(wire.accepted(request))
    assert symbols_of(talk.sent()) == ["NVDA"]


def test_a_late_rejection_does_not_bring_back_removed_symbols() -> None:
    """A request that is rejected after the plan has changed is sent again without the removed symbols."""
    wire = EnvelopeWire()
    talk = talk_to(wire, "A", "B", "C")
    (request,) = talk.begin()
    talk.session.replan(plan(["A", "B"], ["quotes", "trades"]), talk.now)
    talk.sent()
    talk.hear(wire.error(request, "unknown symbol"))
    assert symbols_of(talk.sent()) == ["A", "B"]


def test_a_rejected_symbol_that_is_removed_is_no_longer_counted() -> None:
    """The count of subscribed symbols is right after a rejected one was removed."""
    wire = EnvelopeWire()
    talk = talk_to(wire, "A", "BAD")
    (request,) = talk.begin()
    talk.hear(wire.error(request, "unknown symbol"))
    first, second = talk.sent()
    talk.hear(wire.ack(first), wire.error(second, "unknown symbol"))
    assert talk.session.subscribed_symbols == 1
    talk.session.replan(plan(["A"], ["quotes", "trades"]), talk.now)
    assert (talk.session.subscribed_symbols, talk.session.rejected_symbols) == (1, set())


# -- frames -----------------------------------------------------------------------------------------------------


def test_events_keep_the_order_of_a_frame(wire: Wire) -> None:
    """A frame is handled line by line, and each line is returned with its message."""
    talk = talk_to(wire, "AAPL")
    request = talk.ask()
    ack = wire.ack({"id": "sub-002", "action": "subscribe"})
    lines = [wire.accepted(request), b"{bad", wire.status(OPEN), wire.quote("AAPL"), ack, wire.error(None, "oh")]
    found = talk.session.receive(b"\r\n".join(lines) + b"\n\n", talk.now)
    assert [raw.rstrip(b"\r") for raw, _ in found] == lines
    assert [type(event) for _, event in found][:4] == [AuthAccepted, BadLine, Update, Update]
    assert talk.events() == [
        Authenticated(again=False, expires_in_seconds=None),
        DataStarted(),
        Subscribed(1, ()),
        ServerError("oh"),
    ]
    assert talk.session.has_pending_work


def test_market_status_does_not_start_data(wire: Wire) -> None:
    """Only market data does, and only the first is reported."""
    talk = talk_to(wire)
    talk.begin()
    talk.events()
    talk.hear(wire.status(OPEN), wire.status(CLOSED))
    assert talk.events() == []
    talk.hear(wire.quote("AAPL"), wire.quote("MSFT"))
    assert talk.events() == [DataStarted()]


def test_an_idle_session_has_no_pending_work(wire: Wire) -> None:
    """The client need not look at an idle session; a loss is pending work."""
    talk = talk_to(wire)
    request = talk.ask()
    assert not talk.session.has_pending_work
    talk.hear(wire.rejected(request))
    assert talk.session.has_pending_work


# -- keep-alive -------------------------------------------------------------------------------------------------


def test_pings_are_sent_and_their_pongs_keep_the_session(wire: Wire) -> None:
    """Both kinds of ping are sent by the interval; if answered, they keep a quiet session in a closed market."""
    talk = Talk(wire, "AAPL")
    talk.begin()
    talk.hear(wire.status(CLOSED))
    pings = 0
    for _ in range(600):
        talk.wait(1)
        pings += len(talk.sent())
        if talk.session.keep_alive.take_protocol_ping():
            talk.hear(wire.pong())
            talk.session.keep_alive.protocol_pong_received(talk.now)
    assert talk.session.lost is None
    assert pings == 20


def test_a_dead_connection_is_detected(wire: Wire) -> None:
    """Without any answer the connection is lost, whether the market is open or not."""
    talk = Talk(wire, "AAPL")
    talk.begin()
    talk.hear(wire.status(CLOSED))
    talk.wait(41)
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.PONG_TIMEOUT


def test_a_stale_connection_is_probed_and_then_lost(wire: Wire) -> None:
    """In an open market, pongs without data lead to a probe, and then to the loss."""
    talk = Talk(wire, "AAPL", timing=Timing(ping_interval_seconds=25.0))
    talk.begin()
    talk.hear(wire.status(OPEN), wire.quote("AAPL"))
    while talk.session.lost is None and talk.now < 1100:
        talk.wait(0.5)
        if talk.session.keep_alive.take_protocol_ping():
            talk.hear(wire.pong())
            talk.session.keep_alive.protocol_pong_received(talk.now)
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.STALE
    assert talk.now == pytest.approx(1070, abs=1)
    assert sum("ping" in one.values() for one in talk.sent()) == 3


# -- batches ---------------------------------------------------------------------------------------------------


def test_many_lines_are_handled_in_batches(wire: Wire) -> None:
    """In one frame or in many, no batch is much longer than its limit."""
    talk = talk_to(wire)
    talk.settle()
    symbols = [f"S{number}" for number in range(1000)]
    quotes = [wire.quote(symbol) for symbol in symbols]
    tens = [b"\n".join(quotes[at : at + 10]) for at in range(0, len(quotes), 10)]
    for frames in ([b"\n".join(quotes)], quotes, tens, [b"\r\n", *tens]):
        waiting = deque(frames)
        received: list[Line] = []
        while waiting:
            lines, before_event = talk.session.receive_some(waiting, talk.now)
            assert len(lines) < 2 * BATCH_LINES
            assert before_event == len(lines) or not received  # the first data of the session is an event
            received += lines
            talk.events()
        assert [event.symbol for _, event in received if isinstance(event, Update)] == symbols


def test_a_frame_with_a_session_event_ends_the_batch(wire: Wire) -> None:
    """Its lines are distinguished from those before it, and the frames behind it are left."""
    talk = talk_to(wire)
    talk.settle()
    talk.hear(wire.quote("AAPL"))
    talk.events()
    talk.sent()
    mixed = b"\n".join((wire.quote("B"), wire.error(None, "something is wrong"), wire.quote("C")))
    frames = deque((wire.quote("A"), mixed, wire.quote("D")))
    lines, before_event = talk.session.receive_some(frames, talk.now)
    assert (len(lines), before_event) == (4, 1)
    assert talk.events() == [ServerError("something is wrong")]
    assert list(frames) == [wire.quote("D")]
