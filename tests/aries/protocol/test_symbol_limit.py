"""More symbols than the server serves: so many as it does are served, whatever way it has to reject the rest."""

from __future__ import annotations

import pytest

from bridge.aries.protocol.keep_alive import Timing
from bridge.aries.protocol.session import Session
from bridge.aries.protocol.session_events import ServerError, Subscribed, SymbolLimitReached, SymbolRejected
from bridge.aries.protocol.symbol_limit import FORGET_AFTER_SECONDS, MAX_REJECTIONS, SymbolLimit
from bridge.aries.subscriptions import plan
from tests.aries.protocol.wire import UNHURRIED, ActionWire, SessionDriver, Wire, drive, symbols_of

ERROR = "maximum number of symbols exceeded"


class LimitedServer:
    """A server with a limit of symbols in all, or in one request."""

    def __init__(
        self, driver: SessionDriver, limit: int, *, acks: bool, errors: str = "whole", per_request: int = 10**6
    ) -> None:
        self.driver = driver
        self.limit = limit
        self.acks = acks
        self.errors = errors
        self.per_request = per_request
        self.served: set[str] = set()
        self.requests = 0
        self.events: list[object] = []

    def serve(self, requests: list[dict[str, object]]) -> None:
        """Answer requests until nothing happens any more."""
        self.events += self.driver.serve(requests, self._answer)

    def _answer(self, request: dict[str, object]) -> None:
        self.requests += 1
        self.served.difference_update(symbols_of([request], "unsubscribe"))
        symbols = symbols_of([request])
        new = [symbol for symbol in symbols if symbol not in self.served]
        room = max(0, self.limit - len(self.served))
        if len(new) <= room and len(symbols) <= self.per_request:
            self.served.update(new)
            if self.acks:
                self.driver.receive(self.driver.wire.ack(request))
            return
        if self.errors != "whole":
            self.served.update(new[:room])
        for _ in new[room:] if self.errors == "each" else new[:1]:
            self.driver.receive(self.driver.wire.error(request, ERROR))


def limited(driver: SessionDriver, limit: int, **how: object) -> LimitedServer:
    """Start a session with such a server."""
    server = LimitedServer(driver, limit, **how)  # type: ignore[arg-type]  # as a test says
    requests = driver.start()
    driver.events()
    server.serve(requests)
    return server


@pytest.mark.parametrize("acks", [True, False], ids=["acks", "no acks"])
@pytest.mark.parametrize("errors", ["whole", "in part", "each"])
@pytest.mark.parametrize(("limit", "wanted"), [(500, 2000), (333, 401), (1, 300), (200, 201), (0, 250)])
def test_as_many_symbols_as_possible_are_served(
    wire: Wire, *, acks: bool, errors: str, limit: int, wanted: int
) -> None:
    """With few requests, and one report of the symbols that are left out."""
    symbols = [f"S{number}" for number in range(wanted)]
    driver = drive(wire, *symbols)
    server = limited(driver, limit, acks=acks, errors=errors)
    left_out = tuple(symbol for symbol in symbols if symbol not in server.served)
    assert len(server.served) == limit
    assert driver.session.rejected_symbols == set(left_out)
    assert driver.session.subscribed_symbols == limit
    (reached,) = [event for event in server.events if isinstance(event, SymbolLimitReached)]
    assert reached == SymbolLimitReached(limit, left_out, ERROR)
    assert not [event for event in server.events if isinstance(event, SymbolRejected | ServerError)]
    assert server.events[-1] == Subscribed(limit, tuple(sorted(left_out)))
    assert server.requests <= 2 * len(symbols) / 200 + 20


def test_a_large_plan_is_not_requested_in_vain(wire: Wire) -> None:
    """Requests that are not sent yet when the limit shows are not sent as they are."""
    symbols = [f"S{number}" for number in range(20_000)]
    timing = Timing(1e9, 10.0, 0.0, 10)
    driver = SessionDriver(wire, *symbols, timing=timing)
    server = limited(driver, 450, acks=True)
    assert server.served == set(symbols[:450])
    assert server.requests <= MAX_REJECTIONS + 10


def test_a_limit_of_one_request_costs_no_symbol(wire: Wire) -> None:
    """Smaller requests are then accepted, and all symbols are served."""
    symbols = [f"S{number}" for number in range(2000)]
    driver = drive(wire, *symbols)
    server = limited(driver, 10**6, acks=True, per_request=60)
    assert server.served == set(symbols)
    assert driver.session.rejected_symbols == set()
    assert server.requests <= 70


def test_a_second_type_of_subscription_is_kept_for_served_symbols() -> None:
    """In the older dialect a symbol has several subscriptions; those of symbols that are served are still requested."""
    symbols = [f"S{number}" for number in range(500)]
    driver = drive(ActionWire(), *symbols, events=("quotes", "timesales"))
    server = limited(driver, 250, acks=True)
    assert len(server.served) == 250
    assert driver.session.rejected_symbols == set(symbols) - server.served


def session_after(driver: SessionDriver, limit: SymbolLimit, seconds: float = 0.0) -> SessionDriver:
    """Return the next session of a client that has learnt this limit."""
    after = SessionDriver(driver.wire, *driver.plan, timing=UNHURRIED)
    after.now = driver.now + seconds
    after.session = Session(driver.wire.dialect(), driver.plan, UNHURRIED, after.now, limit=limit)
    return after


def test_the_limit_is_remembered_in_the_next_session(wire: Wire) -> None:
    """What is beyond it is neither requested nor reported again, for hours."""
    symbols = [f"S{number}" for number in range(300)]
    driver, limit = drive(wire, *symbols), SymbolLimit()
    driver.session = Session(wire.dialect(), driver.plan, UNHURRIED, driver.now, limit=limit)
    served = limited(driver, 100, acks=True).served
    left_out = set(symbols) - served
    after = session_after(driver, limit)
    requests = after.start()
    assert set(symbols_of(requests)) == served
    assert after.session.rejected_symbols == left_out
    after.events()
    after.receive(*(wire.ack(one) for one in requests))
    assert after.events() == [Subscribed(100, tuple(sorted(left_out)))]
    later = session_after(driver, limit, FORGET_AFTER_SECONDS)
    assert symbols_of(later.start()) == symbols


def test_another_plan_tries_again_what_was_beyond_the_limit(wire: Wire) -> None:
    """Symbols that are removed make room."""
    symbols = [f"S{number}" for number in range(600)]
    driver = drive(wire, *symbols)
    server = limited(driver, 250, acks=True)
    kept = plan(symbols[50:], ("quotes", "trades"))
    driver.session.replan(kept, driver.now)
    server.events.clear()
    server.serve(driver.sent())
    assert len(server.served) == 250
    assert driver.session.rejected_symbols == kept.keys() - server.served
    assert len([event for event in server.events if isinstance(event, SymbolLimitReached)]) == 1
