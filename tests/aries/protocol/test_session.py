"""A session from authentication to its end, in both dialects."""

from __future__ import annotations

import json
from collections import deque

import pytest

from bridge.aries.protocol.action import Action
from bridge.aries.protocol.keep_alive import Timing
from bridge.aries.protocol.messages import AuthAccepted
from bridge.aries.protocol.session import (
    MOST_HALVINGS,
    PORTION,
    Authenticated,
    Complaint,
    Flowing,
    Session,
    Subscribed,
    SubscriptionRefused,
)
from bridge.aries.subscriptions import plan
from bridge.errors import BadLine, DisconnectCause
from bridge.market_data import Line, Update
from tests.aries.protocol.wire import OPEN, STATUS, ActionWire, EnvelopeWire, Talk, Wire, line

CLOSED: dict[str, object] = dict(STATUS)
#: No pings and no staleness: only what a test asks for is sent.
UNHURRIED = Timing(ping_interval=1e9, stale_after=0.0)


@pytest.fixture(params=[ActionWire(), EnvelopeWire()], ids=["action", "envelope"])
def wire(request: pytest.FixtureRequest) -> Wire:
    """Return the server's side of each dialect."""
    found: Wire = request.param
    return found


def talk_to(wire: Wire, *symbols: str, **choices: object) -> Talk:
    return Talk(wire, *(symbols or ("AAPL", "MSFT")), timing=UNHURRIED, **choices)  # type: ignore[arg-type]  # a Talk's


def symbols_of(requests: list[dict[str, object]], word: str = "subscribe") -> list[str]:
    """Return the symbols that requests of this word name, in their order."""
    wanted = [one for one in requests if word in (one.get("type"), one.get("action"))]
    parts = [one["payload"] if isinstance(one.get("payload"), list) else one["data"] for one in wanted]
    return [part["symbol"] for one in parts for part in one]  # type: ignore[attr-defined]  # a list


# -- authentication ---------------------------------------------------------------------------------------------


def test_a_session_authenticates_and_then_subscribes(wire: Wire) -> None:
    """Nothing but the token is sent before the server's yes; then everything is subscribed."""
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
    assert talk.notices() == [Authenticated(again=False, expires_in_seconds=None)]
    talk.hear(*(wire.ack(one) for one in requests))
    assert talk.notices() == [Subscribed(2, ())]


def test_the_api_key_goes_along_and_may_be_unreadable() -> None:
    """A key that cannot be read is the caller's to know, and leaves the session as it was."""

    def unreadable() -> str:
        raise OSError("gone")

    session = Session(Action(unreadable), plan(["A"], ["quotes"]), Timing(), 0.0)
    session.token_wanted = True
    with pytest.raises(OSError, match="gone"):
        session.authenticate("token", 0.0)
    assert session.token_wanted
    assert session.take_outgoing() == []
    session.tick(60.0)
    assert session.lost is None


def test_a_refused_token_ends_the_connection(wire: Wire) -> None:
    """The first token refused is the end; its cause and the server's words are kept, the token is not."""
    talk = talk_to(wire)
    talk.hear(wire.refused(talk.ask("secret")))
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.AUTH_REFUSED
    assert "authentication failed" in str(talk.session.lost)
    assert "secret" not in str(talk.session.lost)
    assert not talk.session.authenticated
    talk.wait(60)
    assert talk.sent() == []


def test_an_error_that_names_nothing_refuses_a_token_that_waits_for_its_answer(wire: Wire) -> None:
    """While nothing else was asked, an error without an id is about the token."""
    talk = talk_to(wire)
    talk.ask()
    talk.hear(wire.error(None, "token is required"))
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.AUTH_REFUSED


def test_no_answer_to_the_token_ends_the_connection(wire: Wire) -> None:
    """Silence on authentication has a deadline."""
    talk = talk_to(wire)
    talk.ask()
    talk.wait(9.8)
    assert talk.session.lost is None
    talk.wait(0.4)
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.AUTH_TIMEOUT


def test_a_greeting_is_no_request_for_another_token(wire: Wire) -> None:
    """``authRequired`` on a fresh socket asks for what is on its way."""
    talk = talk_to(wire)
    request = talk.ask()
    talk.hear(wire.word("authRequired"))
    talk.wait(1)
    assert not talk.session.token_wanted
    talk.hear(wire.accepted(request))
    talk.wait(1)
    assert not talk.session.token_wanted
    assert symbols_of(talk.sent()) == ["AAPL", "MSFT"]


@pytest.mark.parametrize("status_first", [False, True])
def test_data_says_yes_where_an_answer_does_not(wire: Wire, status_first: bool) -> None:  # noqa: FBT001 - a case
    """Nobody sends data to a stranger: the session begins, and the answer's deadline no longer matters."""
    talk = talk_to(wire)
    talk.ask()
    talk.hear(line({"welcome": "friend"}), *([wire.status(CLOSED)] if status_first else []), wire.quote("AAPL"))
    assert talk.notices() == [Authenticated(again=False, expires_in_seconds=None, implied=True), Flowing()]
    assert symbols_of(talk.sent()) == ["AAPL", "MSFT"]
    talk.wait(60)
    assert talk.session.lost is None
    assert not talk.session.token_wanted


def test_a_late_yes_tells_the_life_of_a_session_that_began_with_data(wire: Wire) -> None:
    """The answer may come after the first data; nothing is subscribed twice."""
    talk = talk_to(wire)
    request = talk.ask()
    talk.hear(wire.status(CLOSED))
    talk.sent()
    talk.hear(wire.accepted(request, 100_000))
    assert talk.sent() == []
    talk.wait(79)
    assert not talk.session.token_wanted
    talk.wait(2)
    assert talk.session.token_wanted


def test_a_late_no_is_understood_after_a_greeting_of_data(wire: Wire) -> None:
    """A server that tells everybody the market's status may refuse the token after that."""
    talk = talk_to(wire)
    request = talk.ask()
    talk.hear(wire.status(CLOSED), wire.refused(request))
    talk.wait(1)
    assert talk.session.token_wanted
    talk.hear(wire.refused(talk.ask("newer")))
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.AUTH_REFUSED


def test_without_a_life_of_its_own_a_session_is_renewed_before_its_token_lapses(wire: Wire) -> None:
    """Where the server does not say how long a session lasts, the token's own life counts; else the server's word."""
    talk = talk_to(wire)
    talk.hear(wire.accepted(talk.ask(life_seconds=100)))
    talk.wait(79)
    assert not talk.session.token_wanted
    talk.wait(2)
    assert talk.session.token_wanted
    talk.hear(wire.accepted(talk.ask(life_seconds=100), 200_000))
    talk.wait(150)
    assert not talk.session.token_wanted


@pytest.mark.parametrize("answered", [True, False])
def test_a_renewal_that_nobody_asked_for_costs_no_session(wire: Wire, answered: bool) -> None:  # noqa: FBT001 - a case
    """A server that refuses or ignores it is let be, and offered the next token in its time."""
    talk = talk_to(wire)
    talk.hear(wire.accepted(talk.ask(life_seconds=100)))
    talk.wait(10)
    talk.notices()
    for _ in range(3):
        talk.wait(81)
        assert talk.session.token_wanted
        request = talk.ask("newer", life_seconds=100)
        if answered:
            talk.hear(wire.refused(request, "already authenticated"))
            assert talk.notices() == [Complaint("already authenticated")]
        else:
            talk.wait(11)
        assert talk.session.lost is None


def test_data_outside_a_session_is_a_bad_line(wire: Wire) -> None:
    """Data after a refusal, or before any token was sent, begins no session and becomes no record."""
    talk = talk_to(wire)
    ((_, event),) = talk.session.receive(wire.quote("AAPL"), talk.now)
    assert isinstance(event, BadLine)
    talk.hear(wire.accepted({"id": "auth-001"}))
    assert not talk.session.authenticated
    request = talk.ask()
    _, (_, event) = talk.session.receive(wire.refused(request) + b"\n" + wire.quote("AAPL"), talk.now)
    assert isinstance(event, BadLine)
    assert (event.reason, event.symbol) == ("no_session", "AAPL")
    assert talk.notices() == []


def test_an_ack_of_the_auth_request_is_a_yes() -> None:
    """A request may be answered by a response rather than by an event."""
    talk = talk_to(EnvelopeWire())
    request = talk.ask()
    talk.hear(line({"type": "response", "id": request["id"], "payload": {}}))
    assert talk.notices() == [Authenticated(again=False, expires_in_seconds=None)]


# -- the life of a session --------------------------------------------------------------------------------------


def test_a_session_is_renewed_by_80_percent_of_its_life(wire: Wire) -> None:
    """A new token is asked for in time, again and again; subscriptions survive that."""
    talk = talk_to(wire)
    talk.begin(2_700_000)
    for again in range(3):
        talk.notices()
        talk.wait(2159, step=10)
        assert not talk.session.token_wanted
        talk.wait(2)
        assert talk.session.token_wanted
        expires_in_ms = None if again else 2_700_000  # what is not said again stays as it was
        request = talk.ask("newer")
        assert not talk.session.token_wanted
        talk.hear(wire.accepted(request, expires_in_ms))
        assert Authenticated(again=True, expires_in_seconds=expires_in_ms and 2700.0) in talk.notices()
        assert talk.sent() == []


@pytest.mark.parametrize("word", ["refreshAuth", "authExpired", "authRequired"])
def test_a_session_is_renewed_when_the_server_asks(wire: Wire, word: str) -> None:
    """Each of the three words asks for a token at once, but not while one is on its way."""
    talk = talk_to(wire)
    talk.begin()
    talk.wait(10)
    talk.hear(wire.word(word))
    talk.wait(0.1)
    assert talk.session.token_wanted
    request = talk.ask("newer")
    talk.hear(wire.word(word))
    talk.wait(1)
    assert not talk.session.token_wanted
    talk.hear(wire.accepted(request))
    assert talk.session.lost is None
    talk.wait(60)
    assert not talk.session.token_wanted


def test_a_server_that_asks_twice_gets_one_token(wire: Wire) -> None:
    """A request that is repeated while the token is being fetched is answered by that token."""
    talk = talk_to(wire)
    talk.begin()
    talk.wait(10)
    talk.hear(wire.word("refreshAuth"))
    talk.wait(1)
    talk.hear(wire.word("refreshAuth"))
    talk.ask("newer")
    talk.wait(1)
    assert not talk.session.token_wanted


@pytest.mark.parametrize(("word", "symbols"), [("refreshAuth", []), ("authExpired", ["AAPL", "MSFT"])])
def test_what_lapsed_is_subscribed_again(wire: Wire, word: str, symbols: list[str]) -> None:
    """A warning leaves the subscriptions alone; of a session that had lapsed nobody knows what is left."""
    talk = talk_to(wire)
    talk.begin()
    talk.wait(10)
    talk.notices()
    talk.hear(wire.word(word))
    talk.hear(wire.accepted(talk.ask("newer")))
    assert symbols_of(talk.sent()) == symbols
    assert talk.notices() == [Authenticated(again=True, expires_in_seconds=None, lapsed=bool(symbols))]


def test_a_server_that_asks_all_the_time_is_not_answered_all_the_time(wire: Wire) -> None:
    """However often the server asks, or however short a life it grants, tokens are sent with a pause between."""
    talk = talk_to(wire)
    talk.begin(1)
    asked = 0
    for _ in range(100):
        talk.hear(wire.word("refreshAuth"))
        talk.wait(0.1)
        if talk.session.token_wanted:
            asked += 1
            talk.hear(wire.accepted(talk.ask(), 1))
    assert 10 <= asked <= 20


def test_a_renewal_refused_once_is_tried_with_a_newer_token(wire: Wire) -> None:
    """One refusal is forgiven while the session lives; a success starts over."""
    talk = talk_to(wire)
    talk.begin()
    for _ in range(3):
        talk.wait(10)
        talk.hear(wire.word("refreshAuth"))
        talk.hear(wire.refused(talk.ask("old")))
        assert talk.session.lost is None
        talk.wait(0.1)
        assert talk.session.token_wanted
        talk.hear(wire.accepted(talk.ask("newer")))
    assert talk.session.lost is None


def test_a_renewal_refused_twice_ends_the_connection(wire: Wire) -> None:
    """Two refusals in a row say that no token will do."""
    talk = talk_to(wire)
    talk.begin(60_000)
    for token in ("old", "newer"):
        assert talk.session.lost is None
        talk.hear(wire.refused(talk.ask(token)))
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.AUTH_REFUSED


def test_a_renewal_without_a_token_is_tried_again_later(wire: Wire) -> None:
    """Where there is no token just now, the session goes on and asks again."""
    talk = talk_to(wire)
    talk.begin(100_000)
    talk.wait(81)
    assert talk.session.token_wanted
    talk.session.postpone_authentication(talk.now)
    assert not talk.session.token_wanted
    talk.wait(9)
    assert not talk.session.token_wanted
    talk.wait(2)
    assert talk.session.token_wanted


def test_an_unanswered_renewal_is_repeated_while_the_session_lives(wire: Wire) -> None:
    """A renewal without an answer is no fault before the session lapses, and one after."""
    talk = talk_to(wire)
    talk.begin(100_000)
    talk.wait(81)
    talk.ask("newer")
    talk.wait(15)
    assert not talk.session.token_wanted
    talk.wait(6)
    assert talk.session.token_wanted
    talk.ask("newest")
    talk.wait(9)
    assert talk.session.lost is None
    talk.wait(2)
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.AUTH_TIMEOUT


def test_an_unanswered_renewal_was_a_yes_where_data_flows_beyond_the_lapse(wire: Wire) -> None:
    """A session whose data outlives it was renewed by an answer we do not understand."""
    talk = talk_to(wire)
    talk.begin(100_000)
    talk.notices()
    while talk.session.lost is None and talk.now < 1000 + 115:
        talk.wait(1)
        talk.hear(wire.quote("AAPL"))
        if talk.session.token_wanted:
            talk.ask("newer")
    assert talk.session.lost is None
    assert Authenticated(again=True, expires_in_seconds=None, implied=True) in talk.notices()
    assert talk.sent() == []


def test_a_warning_without_a_known_life_is_not_forgotten(wire: Wire) -> None:
    """After an unanswered warning the session is taken to lapse, so that a dead one is not kept for ever."""
    talk = talk_to(wire)
    talk.begin()
    talk.hear(wire.word("refreshAuth"))
    for _ in range(400):
        talk.wait(1)
        if talk.session.token_wanted:
            talk.ask("newer")
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.AUTH_TIMEOUT


def test_the_first_loss_stays(wire: Wire) -> None:
    """Whatever comes after the end does not change why it came."""
    talk = talk_to(wire)
    talk.hear(wire.refused(talk.ask(), "first"))
    lost = talk.session.lost
    talk.hear(wire.refused({"id": "auth-001"}, "second"))
    talk.wait(60)
    assert talk.session.lost is lost


# -- subscriptions ----------------------------------------------------------------------------------------------


def test_five_thousand_symbols_take_25_requests() -> None:
    """Requests are bounded, their ids differ, and the whole is settled by the last acknowledgement."""
    wire = EnvelopeWire()
    talk = talk_to(wire, *(f"S{number}" for number in range(5000)))
    requests = talk.begin()
    assert len({str(one["id"]) for one in requests}) == 25
    assert len(symbols_of(requests)) == len(set(symbols_of(requests))) == 5000
    talk.notices()
    talk.hear(*(wire.ack(one) for one in requests[:-1]))
    assert talk.notices() == []
    talk.hear(wire.ack(requests[-1]))
    assert talk.notices() == [Subscribed(5000, ())]


def test_without_acknowledgements_subscriptions_settle_by_themselves(wire: Wire) -> None:
    """Silence counts as a yes after a while."""
    talk = talk_to(wire)
    talk.begin()
    talk.notices()
    talk.wait(4.8)
    assert talk.notices() == []
    talk.wait(0.4)
    assert talk.notices() == [Subscribed(2, ())]
    talk.wait(60)
    assert talk.notices() == []


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_refused_symbol_is_found_by_halves(wire: Wire, acknowledged: bool) -> None:  # noqa: FBT001 - a case
    """A batch that is refused as a whole is asked for by halves, until the bad symbol alone is left out."""
    symbols = [f"S{number}" for number in range(200)]
    symbols[77] = "BAD"
    talk = talk_to(wire, *symbols)
    pending = talk.begin()
    talk.notices()
    subscribed: set[str] = set()
    requests = 0
    while pending:
        request = pending.pop(0)
        requests += 1
        names = symbols_of([request])
        if "BAD" in names:
            talk.hear(wire.error(request, "unknown symbol"))
        else:
            subscribed |= set(names)
            if acknowledged or isinstance(wire, ActionWire):  # without ids, refusals go by the order of answers
                talk.hear(wire.ack(request))
        pending += talk.sent()
    talk.wait(6)
    assert subscribed == set(symbols) - {"BAD"}
    assert requests <= 2 * 9
    assert talk.session.refused_symbols == {"BAD"}
    assert talk.session.subscribed_symbols == 199
    assert talk.notices() == [
        Complaint("unknown symbol (200 symbols at once; now by halves)"),
        SubscriptionRefused("BAD", "unknown symbol"),
        Subscribed(199, ("BAD",)),
    ]


@pytest.mark.parametrize("takes_the_rest", [True, False], ids=["in part", "whole"])
@pytest.mark.parametrize("names_all", [True, False], ids=["each named", "first named"])
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "late"])
def test_symbols_that_errors_name_are_left_out_and_no_others(
    wire: Wire, *, takes_the_rest: bool, names_all: bool, at_once: bool
) -> None:
    """Whether a server takes the rest of a request that it refuses, or nothing of it, all the rest is subscribed."""
    symbols = [f"S{number}" for number in range(50)]
    bad = symbols[2:40:4]
    names_all = names_all or takes_the_rest
    talk = talk_to(wire, *symbols)
    pending = talk.begin()
    talk.notices()
    subscribed: list[str] = []
    requests = 0
    while pending:
        request = pending.pop(0)
        requests += 1
        refused = [symbol for symbol in symbols_of([request]) if symbol in bad]
        if takes_the_rest or not refused:
            subscribed += [symbol for symbol in symbols_of([request]) if symbol not in refused]
        for symbol in refused if names_all else refused[:1]:
            talk.hear(wire.error(request, f"no such option: {symbol}"))
            talk.wait(0 if at_once else 0.7)
        if not refused:
            talk.hear(wire.ack(request))
        talk.wait(0.7)
        pending += talk.sent()
    talk.wait(6)
    refusals = [SubscriptionRefused(symbol, f"no such option: {symbol}") for symbol in bad]
    said = talk.notices()
    assert [notice for notice in said if isinstance(notice, SubscriptionRefused)] == refusals
    assert [one for one in said if isinstance(one, Subscribed)][-1] == Subscribed(40, tuple(sorted(bad)))
    assert set(subscribed) == set(symbols) - set(bad)
    assert requests <= 1 + len(bad)
    if at_once and names_all:
        assert requests == 2
        assert said == [*refusals, Subscribed(40, tuple(sorted(bad)))]


def test_an_error_that_names_a_symbol_is_not_about_the_oldest_request() -> None:
    """Without ids the name tells which of several requests is refused; the answers of the others keep their order."""
    wire = ActionWire()
    talk = talk_to(wire, "AAPL", "AAPL290119C00150000", "MSFT", "MSFT290119C00150000")
    equities, options = talk.begin()
    talk.notices()
    talk.hear(wire.error(options, "no such option: MSFT290119C00150000"), wire.ack(equities))
    assert talk.notices() == [SubscriptionRefused("MSFT290119C00150000", "no such option: MSFT290119C00150000")]
    assert talk.sent() == []
    talk.wait(0.6)
    (rest,) = talk.sent()
    assert symbols_of([rest]) == ["AAPL290119C00150000"]
    talk.hear(wire.ack(rest))
    assert talk.notices() == [Subscribed(3, ("MSFT290119C00150000",))]


def test_an_error_about_a_symbol_that_was_asked_for_twice_blames_no_other() -> None:
    """A name that comes late finds its symbol asked for again, and draws a second error: that is only reported."""
    wire = ActionWire()
    talk = talk_to(wire, "AAPL", "BAD", "WORSE", "AAPL290119C00150000")
    equities, _ = talk.begin()
    talk.notices()
    talk.hear(wire.error(equities, "unknown symbol: BAD"))
    talk.wait(0.6)
    (rest,) = talk.sent()
    assert symbols_of([rest]) == ["AAPL", "WORSE"]
    talk.hear(wire.error(equities, "unknown symbol: WORSE"), wire.error(rest, "unknown symbol: WORSE"))
    assert talk.notices() == [
        SubscriptionRefused("BAD", "unknown symbol: BAD"),
        SubscriptionRefused("WORSE", "unknown symbol: WORSE"),
        Complaint("unknown symbol: WORSE"),
    ]
    assert talk.session.refused_symbols == {"BAD", "WORSE"}


def test_a_word_that_is_a_symbol_by_chance_does_not_hide_a_refusal() -> None:
    """It is blamed once; as the cause stays, the rest is asked for by halves as after any error."""
    wire = ActionWire()
    talk = talk_to(wire, "ALL", "AAPL", "MSFT")
    (request,) = talk.begin()
    talk.hear(wire.error(request, "ALL slots are taken"))
    talk.wait(0.6)
    (rest,) = talk.sent()
    talk.hear(wire.error(rest, "ALL slots are taken"))
    assert [symbols_of([half]) for half in talk.sent()] == [["AAPL"], ["MSFT"]]


def test_a_name_that_comes_after_the_halves_were_asked_for_is_blamed_there(wire: Wire) -> None:
    """A request refused without a name is asked for by halves; an error that names one symbol needs no more of them."""
    talk = talk_to(wire, "A", "BAD", "C", "D")
    (request,) = talk.begin()
    talk.hear(wire.error(request, "bad request"))
    first, second = talk.sent()
    talk.hear(wire.error(first, "unknown symbol: BAD"), wire.ack(second))
    talk.wait(0.6)
    (rest,) = talk.sent()
    assert symbols_of([rest]) == ["A"]
    talk.hear(wire.ack(rest))
    assert talk.notices()[-2:] == [SubscriptionRefused("BAD", "unknown symbol: BAD"), Subscribed(3, ("BAD",))]


def test_an_acknowledged_rest_is_not_asked_for_again() -> None:
    """A server that names its request in both says that it took the rest."""
    wire = EnvelopeWire()
    talk = talk_to(wire, "A", "BAD", "C")
    (request,) = talk.begin()
    talk.notices()
    talk.hear(wire.error(request, "unknown symbol: BAD"), wire.ack(request))
    assert talk.notices() == [SubscriptionRefused("BAD", "unknown symbol: BAD"), Subscribed(2, ("BAD",))]
    talk.wait(6)
    assert talk.sent() == []


def test_what_is_no_longer_wanted_is_not_in_the_rest(wire: Wire) -> None:
    """A plan that changes while more names may come counts for the rest as well."""
    talk = talk_to(wire, "A", "BAD", "C", "D")
    (request,) = talk.begin()
    talk.hear(wire.error(request, "unknown symbol: BAD"))
    talk.session.replan(plan(["A", "BAD", "C"], ["quotes", "trades"]), talk.now)
    talk.sent()
    talk.wait(0.6)
    assert symbols_of(talk.sent()) == ["A", "C"]


def test_an_error_that_names_a_symbol_long_after_all_is_settled_is_a_complaint() -> None:
    """Without an id it may be about anything, so nothing is asked for again."""
    wire = ActionWire()
    talk = talk_to(wire)
    talk.begin()
    talk.wait(6)
    talk.notices()
    talk.hear(wire.error(None, "AAPL is halted"))
    talk.wait(6)
    assert talk.notices() == [Complaint("AAPL is halted")]
    assert (talk.sent(), talk.session.refused_symbols) == ([], set())


def test_a_server_that_names_one_symbol_after_the_other_is_not_stormed(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What names refuse is bounded like halves are: then the request is left out as a whole."""
    monkeypatch.setattr("bridge.aries.protocol.session.MOST_HALVINGS", 5)
    talk = talk_to(wire, *(f"S{number}" for number in range(200)))
    pending = talk.begin()
    requests = 0
    while pending:
        (request,) = pending
        requests += 1
        talk.hear(wire.error(request, f"unknown symbol: {symbols_of([request])[0]}"))
        talk.wait(0.7)
        pending = talk.sent()
    assert requests == 6
    assert talk.session.subscribed_symbols == 0
    assert isinstance(talk.notices()[-1], Subscribed)


def test_a_server_that_refuses_everything_is_not_stormed(wire: Wire) -> None:
    """Where every request is refused, asking by halves has an end."""
    talk = talk_to(wire, *(f"S{number}" for number in range(5000)))
    pending = talk.begin()
    requests = 0
    while pending:
        requests += len(pending)
        talk.hear(*(wire.error(one, "limit reached") for one in pending))
        pending = talk.sent()
    assert requests <= 25 + 2 * MOST_HALVINGS
    assert talk.session.subscribed_symbols == 0
    assert isinstance(talk.notices()[-1], Subscribed)


def test_one_storm_does_not_spoil_the_next_plan(wire: Wire) -> None:
    """Once everything is settled, refused requests are asked for by halves again."""
    talk = talk_to(wire, *(f"S{number}" for number in range(2000)))
    pending = talk.begin()
    while pending:
        talk.hear(*(wire.error(one, "limit reached") for one in pending))
        pending = talk.sent()
    talk.session.replan(plan(["A", "B", "C"], ["quotes", "trades"]), talk.now)
    (request,) = (one for one in talk.sent() if symbols_of([one]))
    talk.hear(wire.error(request, "unknown symbol"))
    assert sorted(symbols_of(talk.sent())) == ["A", "B", "C"]


def test_an_answer_to_a_new_plan_is_not_taken_for_one_to_the_old() -> None:
    """Without ids, what nobody answered in time is no longer waited for."""
    wire = ActionWire()
    talk = talk_to(wire, "AAPL")
    talk.begin()
    talk.wait(6)
    talk.session.replan(plan(["AAPL", "BAD"], ["quotes", "trades"]), talk.now)
    talk.sent()
    talk.notices()
    talk.hear(wire.error(None, "unknown symbol"))
    assert talk.notices() == [SubscriptionRefused("BAD", "unknown symbol"), Subscribed(1, ("BAD",))]


def test_answers_without_ids_mean_the_oldest_request() -> None:
    """In the older dialect answers come in the order of the requests: of three types the second is refused."""
    wire = ActionWire()
    talk = talk_to(wire, "AAPL", events=("quotes", "timesales", "l2"))
    composite, timesales, level2 = talk.begin()
    talk.notices()
    talk.hear(wire.ack(composite), wire.error(timesales, "no time & sales"), wire.ack(level2))
    assert talk.notices() == [SubscriptionRefused("AAPL", "no time & sales"), Subscribed(0, ("AAPL",))]
    assert talk.sent() == []


def test_an_unsubscribe_is_not_taken_for_a_subscribe() -> None:
    """The answer to an unsubscribe request settles no subscription."""
    wire = ActionWire()
    talk = talk_to(wire)
    talk.settle()
    talk.session.replan(plan(["AAPL", "NVDA"], ["quotes", "trades"]), talk.now)
    gone, new = talk.sent()
    talk.notices()
    talk.hear(wire.ack(gone))
    assert talk.notices() == []
    talk.hear(wire.ack(new))
    assert talk.notices() == [Subscribed(2, ())]


def test_an_error_about_nothing_we_asked_is_a_complaint(wire: Wire) -> None:
    """Once everything is settled an error without a request is reported, and changes nothing."""
    talk = talk_to(wire)
    talk.begin()
    talk.wait(6)
    talk.notices()
    talk.hear(wire.error(None, "something broke"))
    assert talk.notices() == [Complaint("something broke")]
    assert talk.sent() == []
    assert talk.session.lost is None


def test_a_refusal_that_comes_late_and_names_its_request_is_understood() -> None:
    """Silence counted as a yes; a later no corrects that."""
    wire = EnvelopeWire()
    talk = talk_to(wire, "BAD")
    (request,) = talk.begin()
    talk.wait(6)
    talk.notices()
    talk.hear(wire.error(request, "unknown symbol"))
    assert talk.notices() == [SubscriptionRefused("BAD", "unknown symbol")]
    assert talk.session.subscribed_symbols == 0


# -- another plan -----------------------------------------------------------------------------------------------


def test_another_plan_is_applied_by_the_difference(wire: Wire) -> None:
    """Only what is gone is unsubscribed, and only what is new or changed is subscribed, in this order."""
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
    assert talk.notices() == [Subscribed(3, ())]


def test_the_same_plan_sends_nothing(wire: Wire) -> None:
    """Without a difference there is nothing to say."""
    talk = talk_to(wire)
    talk.settle()
    talk.session.replan(plan(["AAPL", "MSFT"], ["quotes", "trades"]), talk.now)
    assert talk.sent() == []
    assert talk.notices() == []


def test_fewer_symbols_need_no_acknowledgement(wire: Wire) -> None:
    """Where symbols only go, the new state is known at once."""
    talk = talk_to(wire)
    talk.settle()
    talk.session.replan(plan(["AAPL"], ["quotes", "trades"]), talk.now)
    assert symbols_of(talk.sent(), "unsubscribe") == ["MSFT"]
    assert talk.notices() == [Subscribed(1, ())]


def test_removed_events_are_unsubscribed_only_where_subscriptions_add_up() -> None:
    """The older dialect has a subscription per type, the newer one per symbol."""
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


def test_a_plan_before_the_session_is_the_one_that_counts(wire: Wire) -> None:
    """A plan that changes while the token is on its way is subscribed to as it is then."""
    talk = talk_to(wire)
    request = talk.ask()
    talk.session.replan(plan(["NVDA"], ["quotes"]), talk.now)
    assert talk.sent() == []
    talk.hear(wire.accepted(request))
    assert symbols_of(talk.sent()) == ["NVDA"]


def test_a_late_refusal_does_not_bring_back_what_is_gone() -> None:
    """A batch refused after the plan has changed is asked for again without what is no longer wanted."""
    wire = EnvelopeWire()
    talk = talk_to(wire, "A", "B", "C")
    (request,) = talk.begin()
    talk.session.replan(plan(["A", "B"], ["quotes", "trades"]), talk.now)
    talk.sent()
    talk.hear(wire.error(request, "unknown symbol"))
    assert symbols_of(talk.sent()) == ["A", "B"]


def test_a_refused_symbol_that_is_gone_is_no_longer_counted() -> None:
    """The count of subscribed symbols is right after a refused one was removed, and after it was asked for anew."""
    wire = EnvelopeWire()
    talk = talk_to(wire, "A", "BAD")
    (request,) = talk.begin()
    talk.hear(wire.error(request, "unknown symbol"))
    first, second = talk.sent()
    talk.hear(wire.ack(first), wire.error(second, "unknown symbol"))
    assert talk.session.subscribed_symbols == 1
    talk.session.replan(plan(["A"], ["quotes", "trades"]), talk.now)
    assert (talk.session.subscribed_symbols, talk.session.refused_symbols) == (1, set())


# -- frames -----------------------------------------------------------------------------------------------------


def test_notices_keep_the_order_of_a_frame(wire: Wire) -> None:
    """What one frame says is noted line by line, and each line is returned with what it says."""
    talk = talk_to(wire, "AAPL")
    request = talk.ask()
    ack = wire.ack({"id": "sub-002", "action": "subscribe"})
    lines = [wire.accepted(request), b"{bad", wire.status(OPEN), wire.quote("AAPL"), ack, wire.error(None, "oh")]
    found = talk.session.receive(b"\r\n".join(lines) + b"\n\n", talk.now)
    assert [raw.rstrip(b"\r") for raw, _ in found] == lines
    assert [type(event) for _, event in found][:4] == [AuthAccepted, BadLine, Update, Update]
    assert talk.notices() == [
        Authenticated(again=False, expires_in_seconds=None),
        Flowing(),
        Subscribed(1, ()),
        Complaint("oh"),
    ]
    assert talk.session.eventful


def test_market_status_is_no_sign_of_flowing_data(wire: Wire) -> None:
    """Only market data says that data flows, and only the first is noted."""
    talk = talk_to(wire)
    talk.begin()
    talk.notices()
    talk.hear(wire.status(OPEN), wire.status(CLOSED))
    assert talk.notices() == []
    talk.hear(wire.quote("AAPL"), wire.quote("MSFT"))
    assert talk.notices() == [Flowing()]


def test_an_idle_session_has_nothing_to_say(wire: Wire) -> None:
    """The shell need not look where nothing happened; a loss is worth a look."""
    talk = talk_to(wire)
    request = talk.ask()
    assert not talk.session.eventful
    talk.hear(wire.refused(request))
    assert talk.session.eventful


# -- keep-alive -------------------------------------------------------------------------------------------------


def test_pings_go_out_and_their_pongs_keep_the_session(wire: Wire) -> None:
    """Both kinds of ping go out by the interval; answered, they keep a quiet session in a closed market."""
    talk = Talk(wire, "AAPL")
    talk.begin()
    talk.hear(wire.status(CLOSED))
    pings = 0
    for _ in range(600):
        talk.wait(1)
        pings += len(talk.sent())
        if talk.session.keep_alive.take_ping():
            talk.hear(wire.pong())
            talk.session.keep_alive.protocol_pong(talk.now)
    assert talk.session.lost is None
    assert pings == 20


def test_a_black_hole_is_noticed(wire: Wire) -> None:
    """Without any answer the connection is given up, whatever the market does."""
    talk = Talk(wire, "AAPL")
    talk.begin()
    talk.hear(wire.status(CLOSED))
    talk.wait(41)
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.PONG_TIMEOUT


def test_a_silent_stall_is_probed_and_given_up(wire: Wire) -> None:
    """In an open market, pongs without data lead to a probe, and then to the end."""
    talk = Talk(wire, "AAPL", timing=Timing(ping_interval=25.0))
    talk.begin()
    talk.hear(wire.status(OPEN), wire.quote("AAPL"))
    while talk.session.lost is None and talk.now < 1100:
        talk.wait(0.5)
        if talk.session.keep_alive.take_ping():
            talk.hear(wire.pong())
            talk.session.keep_alive.protocol_pong(talk.now)
    assert talk.session.lost is not None
    assert talk.session.lost.cause is DisconnectCause.STALE
    assert talk.now == pytest.approx(1070, abs=1)
    assert sum("ping" in one.values() for one in talk.sent()) == 3


# -- portions ---------------------------------------------------------------------------------------------------


def test_much_is_heard_in_portions(wire: Wire) -> None:
    """However lines come, in one frame or in many, no portion is much longer than others may have to wait for."""
    talk = talk_to(wire)
    talk.settle()
    symbols = [f"S{number}" for number in range(1000)]
    quotes = [wire.quote(symbol) for symbol in symbols]
    tens = [b"\n".join(quotes[at : at + 10]) for at in range(0, len(quotes), 10)]
    for frames in ([b"\n".join(quotes)], quotes, tens, [b"\r\n", *tens]):
        waiting = deque(frames)
        heard: list[Line] = []
        while waiting:
            lines, calm = talk.session.receive_some(waiting, talk.now)
            assert len(lines) < 2 * PORTION
            assert calm == len(lines) or not heard  # the first data of the session is eventful
            heard += lines
            talk.notices()
        assert [event.symbol for _, event in heard if isinstance(event, Update)] == symbols


def test_what_comes_behind_something_eventful_waits(wire: Wire) -> None:
    """The frame that changes the session ends the portion, and its own lines are told from those before it."""
    talk = talk_to(wire)
    talk.settle()
    talk.hear(wire.quote("AAPL"))
    talk.notices()
    talk.sent()
    word = b"\n".join((wire.quote("B"), wire.error(None, "something is wrong"), wire.quote("C")))
    frames = deque((wire.quote("A"), word, wire.quote("D")))
    lines, calm = talk.session.receive_some(frames, talk.now)
    assert (len(lines), calm) == (4, 1)
    assert talk.notices() == [Complaint("something is wrong")]
    assert list(frames) == [wire.quote("D")]
