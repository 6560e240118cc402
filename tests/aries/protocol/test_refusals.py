"""What the words of a refusal mean, in both dialects: for a token, a request, and the end of a connection."""

from __future__ import annotations

import pytest

from bridge.aries.protocol.authentication import MIN_RENEWAL_SECONDS
from bridge.aries.protocol.close_codes import HINTS, closed
from bridge.aries.protocol.refusals import CAUSES, cause_of, is_symbol_limit
from bridge.aries.protocol.session import EXPLAINED_WITHIN_SECONDS
from bridge.aries.protocol.session_events import ServerError, Subscribed
from bridge.aries.protocol.subscribing import MAX_FAILURES
from bridge.errors import ConnectionLost, DisconnectCause
from tests.aries.protocol.wire import Wire, drive, symbols_of

LIMIT, BUSY, AWAY, FAILED = (
    DisconnectCause.CONNECTION_LIMIT,
    DisconnectCause.THROTTLED,
    DisconnectCause.MAINTENANCE,
    DisconnectCause.SERVER_ERROR,
)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("maximum connections reached", LIMIT),
        ("Too many connections", LIMIT),
        ("too many active sessions for this account", LIMIT),
        ("already connected", LIMIT),
        ("concurrent login detected", LIMIT),
        ("Connection limit exceeded", LIMIT),
        ("max number of connections: 1", LIMIT),
        ("authentication failed: too many connections", LIMIT),
        ("connection_limit_exceeded", LIMIT),
        ("MAX_CONNECTIONS", LIMIT),
        ("only one connection allowed", LIMIT),
        ("account has too many open sockets", LIMIT),
        ("you have been logged in elsewhere", LIMIT),
        ("another session is active", LIMIT),
        ("rate limit exceeded", BUSY),
        ("RATE_LIMITED", BUSY),
        ("TOO_MANY_REQUESTS", BUSY),
        ("too-many-requests", BUSY),
        ("rate exceeded", BUSY),
        ("please wait 30 seconds", BUSY),
        ("429", BUSY),
        ("too many requests", BUSY),
        ("request throttled", BUSY),
        ("under maintenance", AWAY),
        ("temporarily unavailable", AWAY),
        ("please try again later", AWAY),
        ("server is restarting", AWAY),
        ("please reconnect later", AWAY),
        ("internal error", FAILED),
        ("INTERNAL", FAILED),
        ("system busy", FAILED),
        ("database unavailable", FAILED),
        ("unknown error", FAILED),
        ("an error occurred", FAILED),
        ("Error 503", FAILED),
        ("Internal Server Error", FAILED),
        ("service unavailable", FAILED),
        ("auth backend timeout", FAILED),
        ("token validation timed out", FAILED),
        ("authentication failed", None),
        ("token is required", None),
        ("invalid token", None),
        ("token has expired, try again later", None),
        ("expired access token (rate limit)", None),
        ("forbidden", None),
        ("token timed out", None),
        ("for internal use only", None),
        ("wrong account number for this connection", None),
        ("number of sessions exceeded", LIMIT),
        ("INTERNAL_SERVER_ERROR", FAILED),
        ("unknown symbol: AAPL", None),
        ("max 500 symbols", None),
        ("jwt expired", None),
        ("symbol unavailable", None),
        ("", None),
    ],
)
def test_a_cause_is_known_by_its_words(text: str, cause: DisconnectCause | None) -> None:
    """What blames the token has none of these causes, whatever else it says."""
    assert cause_of(text) is cause
    assert cause_of(text.upper()) is cause


def test_a_code_in_the_reason_of_a_close_is_understood() -> None:
    """Its words are joined in any way."""
    for reason in ("TOO_MANY_REQUESTS", "tooManyRequests", "too-many-requests"):
        assert closed(4000, reason).cause is BUSY


def test_each_cause_has_a_hint() -> None:
    """The operator is told what to do."""
    assert set(CAUSES) <= set(HINTS)


@pytest.mark.parametrize(
    "text",
    [
        *("symbol limit exceeded", "maximum number of symbols", "subscription limit", "Too many symbols"),
        *("max 500 symbols", "you may not subscribe to more than 100 instruments", "subscriptions quota reached"),
        *("number of symbols exceeded", "limit of 100 symbols", "exceeded the quota for subscriptions"),
        *("SYMBOL_LIMIT_EXCEEDED", "maxSymbols exceeded", "you can subscribe to at most 137 symbols"),
        "you may only watch 50 symbols",
    ],
)
def test_a_limit_of_symbols_is_known_by_its_words(text: str) -> None:
    """It is no fault of a symbol."""
    assert is_symbol_limit(text)


@pytest.mark.parametrize(
    "text",
    [
        "unknown symbol",
        "rate limit exceeded",
        "too many connections",
        "no permission for symbol",
        "limit up",
        "bad number in symbol",
    ],
)
def test_other_errors_are_no_limit_of_symbols(text: str) -> None:
    """Not every limit is one of symbols."""
    assert not is_symbol_limit(text)


# -- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cause"),
    [("too many connections", LIMIT), ("rate limit", BUSY), ("maintenance", AWAY), ("internal error", FAILED)],
)
def test_a_refusal_that_is_not_the_tokens_fault_does_not_blame_it(
    wire: Wire, text: str, cause: DisconnectCause
) -> None:
    """The connection is lost with its cause and a hint; the token stays as good as it was."""
    driver = drive(wire)
    driver.receive(wire.rejected(driver.authenticate(), text))
    lost = driver.session.lost
    assert lost is not None
    assert lost.cause is cause
    assert not lost.blames_token
    assert text in str(lost)
    assert HINTS[cause] in str(lost)


def test_a_refused_renewal_costs_no_session(wire: Wire) -> None:
    """However often the server has no time for a new token, the session continues, and the token is sent again."""
    driver = drive(wire)
    driver.receive(wire.accepted(driver.authenticate(), 600_000))
    driver.receive(*(wire.ack(one) for one in driver.sent()))
    driver.events()
    driver.wait(481)
    for _ in range(3):
        assert driver.session.token_required
        driver.receive(wire.rejected(driver.authenticate("newer"), "internal error"))
        assert driver.events() == [ServerError("internal error")]
        assert driver.session.lost is None
        assert not driver.session.token_required
        driver.wait(MIN_RENEWAL_SECONDS + 1)
    driver.receive(wire.accepted(driver.authenticate("newer"), 600_000))
    assert driver.session.lost is None


def test_a_refused_renewal_of_an_expired_session_ends_it(wire: Wire) -> None:
    """The cause is not the token."""
    driver = drive(wire)
    driver.receive(wire.accepted(driver.authenticate(), 600_000))
    driver.wait(481)
    request = driver.authenticate("newer")
    driver.now += 200
    driver.receive(wire.rejected(request, "too many connections"))
    assert driver.session.lost is not None
    assert driver.session.lost.cause is LIMIT


# -- the end of a connection -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [None, 1000, 1011])
def test_an_error_explains_the_end_of_the_connection_right_after_it(wire: Wire, code: int | None) -> None:
    """The end alone would only say that the connection is closed."""
    driver = drive(wire)
    driver.settle()
    driver.receive(wire.error(None, "maximum connections reached"))
    assert driver.session.lost is None
    driver.now += 1
    lost = driver.session.explain(closed(code, ""), driver.now)
    assert lost.cause is LIMIT
    assert "after the error: maximum connections reached" in str(lost)


def test_other_losses_are_explained_by_themselves(wire: Wire) -> None:
    """So are those long after an error, and after an error that explains nothing."""
    driver = drive(wire)
    driver.settle()
    driver.receive(wire.error(None, "something is wrong"))
    plain, evicted = closed(1000, ""), closed(1000, "replaced by another connection")
    assert driver.session.explain(plain, driver.now) is plain
    driver.receive(wire.error(None, "rate limit exceeded"))
    assert driver.session.explain(evicted, driver.now) is evicted
    stale = ConnectionLost(DisconnectCause.STALE, "no data")
    assert driver.session.explain(stale, driver.now) is stale
    assert driver.session.explain(plain, driver.now + EXPLAINED_WITHIN_SECONDS + 1) is plain


# -- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["rate limit exceeded", "too many requests", "internal error", "try again later"])
def test_a_request_that_the_server_has_no_time_for_is_sent_again_later(wire: Wire, text: str) -> None:
    """It is sent whole, after pauses that grow, and reported once; no symbol is at fault."""
    driver = drive(wire)
    (request,) = driver.start()
    driver.events()
    for seconds in (5, 10, 20):
        driver.receive(wire.error(request, text))
        driver.wait(seconds - 0.2)
        assert driver.sent() == []
        driver.wait(0.4)
        (request,) = driver.sent()
        assert symbols_of([request]) == ["AAPL", "MSFT"]
    driver.receive(wire.ack(request))
    assert driver.events() == [ServerError(f"{text} (requesting again after 5 s)"), Subscribed(2, ())]


def test_an_error_that_never_ends_is_a_symbols_fault(wire: Wire) -> None:
    """A server may fail because of a symbol that it does not know; it is found as usual."""
    driver = drive(wire, "A", "BAD", "C", "D")
    requests = driver.start()
    for _ in range(1000):
        for request in requests:
            bad = "BAD" in symbols_of([request])
            driver.receive(wire.error(request, "internal error") if bad else wire.ack(request))
        driver.wait(1)
        requests = driver.sent()
    assert driver.session.rejected_symbols == {"BAD"}
    assert driver.session.subscribed_symbols == 3
    assert MAX_FAILURES == 3
