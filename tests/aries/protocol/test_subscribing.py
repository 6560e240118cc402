"""Subscriptions, rejected symbols, and changes of the plan, in both dialects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bridge.aries.protocol.session_events import ServerError, Subscribed, SymbolRejected
from bridge.aries.subscriptions import plan
from tests.aries.protocol.wire import (
    ActionWire,
    EnvelopeWire,
    SessionDriver,
    Wire,
    drive,
    symbols_of,
)

if TYPE_CHECKING:
    from bridge.aries.protocol.session_events import SessionEvent


def test_five_thousand_symbols_take_25_requests() -> None:
    """Requests are bounded, their ids differ, and the last acknowledgement settles them."""
    wire = EnvelopeWire()
    driver = drive(wire, *(f"S{number}" for number in range(5000)))
    requests = driver.start()
    assert len({str(one["id"]) for one in requests}) == 25
    assert len(symbols_of(requests)) == len(set(symbols_of(requests))) == 5000
    driver.events()
    driver.receive(*(wire.ack(one) for one in requests[:-1]))
    assert driver.events() == []
    driver.receive(wire.ack(requests[-1]))
    assert driver.events() == [Subscribed(5000, ())]


def test_without_acknowledgements_subscriptions_settle_after_the_grace_period(wire: Wire) -> None:
    """Requests that are not answered count as accepted."""
    driver = drive(wire)
    driver.start()
    driver.events()
    driver.wait(4.8)
    assert driver.events() == []
    driver.wait(0.4)
    assert driver.events() == [Subscribed(2, ())]
    driver.wait(60)
    assert driver.events() == []


class Server:
    """A server that rejects some symbols, in one of the ways in which Aries may do it."""

    def __init__(
        self, driver: SessionDriver, bad: set[str], *, acks: bool = True, takes_rest: bool = False, errors: str = "one"
    ) -> None:
        self.driver = driver
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
        self.events += self.driver.serve(requests, self._answer)

    def _answer(self, request: dict[str, object]) -> None:
        self.requests += 1
        symbols = symbols_of([request])
        bad = [symbol for symbol in symbols if symbol in self.bad]
        if self.takes_rest or not bad:
            self.subscribed |= set(symbols).difference(bad)
        for symbol in bad if self.each else bad[:1]:
            self.driver.receive(self.driver.wire.error(request, f"unknown symbol: {symbol}"))
            self.driver.wait(self.pause_seconds)
        if self.acks and not bad:
            self.driver.receive(self.driver.wire.ack(request))


@pytest.mark.parametrize("acks", [True, False], ids=["acks", "no acks"])
def test_a_rejected_symbol_is_found_by_halves(wire: Wire, acks: bool) -> None:  # noqa: FBT001 - a case
    """A request that is rejected is sent again in halves, until the bad symbol is rejected alone and left out."""
    symbols = [f"S{number}" for number in range(200)]
    symbols[77] = "BAD"
    driver = drive(wire, *symbols)
    server = Server(driver, {"BAD"}, acks=acks)
    requests = driver.start()
    driver.events()
    server.serve(requests)
    assert server.subscribed == set(symbols) - {"BAD"}
    assert server.requests <= 2 * 9
    assert driver.session.rejected_symbols == {"BAD"}
    assert driver.session.subscribed_symbols == 199
    assert server.events == [
        ServerError("unknown symbol: BAD (symbols in the rejected request: 200; retrying in halves)"),
        SymbolRejected("BAD", "unknown symbol: BAD"),
        Subscribed(199, ("BAD",)),
    ]


@pytest.mark.parametrize("acks", [True, False], ids=["acks", "no acks"])
@pytest.mark.parametrize("takes_rest", [True, False], ids=["in part", "whole"])
@pytest.mark.parametrize("errors", ["one", "each", "each, late"])
def test_rejected_symbols_affect_no_others(wire: Wire, *, acks: bool, takes_rest: bool, errors: str) -> None:
    """Whether a server accepts the rest of a request or not, and however many errors it sends."""
    equities = [f"S{number}" for number in range(30)]
    options = [f"S{number}290119C00150000" for number in range(30)]
    bad = {*equities[2:20:4], *options[3:30:4]}
    driver = drive(wire, *equities, *options)
    server = Server(driver, bad, acks=acks, takes_rest=takes_rest, errors=errors)
    requests = driver.start()
    server.serve(requests)
    assert server.subscribed == {*equities, *options} - bad
    rejected = [event.symbol for event in server.events if isinstance(event, SymbolRejected)]
    assert sorted(rejected) == sorted(driver.session.rejected_symbols) == sorted(bad)
    subscribed = [event for event in server.events if isinstance(event, Subscribed)]
    assert driver.session.subscribed_symbols == len(server.subscribed)
    if errors != "each, late":  # these last longer than the grace period
        assert subscribed == [Subscribed(len(server.subscribed), tuple(sorted(bad)))]


def test_without_ids_and_acknowledgements_an_error_is_certain_only_for_the_only_request() -> None:
    """If there are two requests, it is unknown which is rejected, so both are sent again, one by one."""
    wire = ActionWire()
    driver = drive(wire, "AAPL", "BAD290119C00150000")
    server = Server(driver, {"BAD290119C00150000"}, acks=False)
    server.serve(driver.start())
    assert driver.session.rejected_symbols == {"BAD290119C00150000"}


def test_an_error_with_an_id_is_certain_whatever_else_is_pending() -> None:
    """With ids both halves are sent at once, and each is settled by its own answer."""
    wire = EnvelopeWire()
    driver = drive(wire, "A", "BAD", "C", "D")
    (request,) = driver.start()
    driver.receive(wire.error(request, "bad request"))
    first, second = driver.sent()
    driver.receive(wire.error(first, "bad request"), wire.ack(second))
    good, bad = driver.sent()
    driver.receive(wire.error(bad, "unknown symbol"), wire.ack(good))
    assert driver.events()[-2:] == [SymbolRejected("BAD", "unknown symbol"), Subscribed(3, ("BAD",))]


def test_a_second_error_about_a_request_is_reported(wire: Wire) -> None:
    """It blames no other request, nor a half that is sent later."""
    driver = drive(wire, "A", "BAD")
    (request,) = driver.start()
    driver.events()
    driver.receive(wire.error(request, "unknown symbol"), wire.error(request, "try again"))
    assert driver.events()[1:] == [ServerError("try again")]
    assert driver.session.rejected_symbols == set()


def test_what_is_no_longer_wanted_is_not_sent_again(wire: Wire) -> None:
    """A plan that changes while halves wait to be sent applies to them as well."""
    driver = drive(wire, "A", "BAD", "C", "D")
    requests = driver.start()
    driver.receive(*(wire.error(request, "unknown symbol") for request in requests))
    before = driver.sent()
    driver.session.replan(plan(["A", "BAD", "C"], ["quotes", "trades"]), driver.now)
    assert symbols_of(driver.sent(), "unsubscribe") == ["D"]
    server = Server(driver, {"BAD"})
    server.serve(before)
    assert {"A", "C"} <= server.subscribed
    assert driver.session.rejected_symbols == {"BAD"}


def test_new_symbols_wait_while_requests_are_sent_one_at_a_time() -> None:
    """Without ids a request of another plan would make the answers ambiguous again."""
    wire = ActionWire()
    driver = drive(wire, "A", "BAD")
    (request,) = driver.start()
    driver.receive(wire.error(request, "unknown symbol"))
    driver.session.replan(plan(["A", "BAD", "C"], ["quotes", "trades"]), driver.now)
    assert driver.sent() == []
    server = Server(driver, {"BAD"})
    server.serve([])
    assert server.subscribed == {"A", "C"}


def test_an_error_long_after_all_is_settled_is_reported() -> None:
    """Without an id it may be about anything, so no request is sent again."""
    wire = ActionWire()
    driver = drive(wire)
    driver.start()
    driver.wait(6)
    driver.events()
    driver.receive(wire.error(None, "AAPL is halted"))
    driver.wait(6)
    assert driver.events() == [ServerError("AAPL is halted")]
    assert (driver.sent(), driver.session.rejected_symbols) == ([], set())


@pytest.mark.parametrize("errors", ["one", "each"])
def test_a_server_that_rejects_everything_is_not_flooded(
    wire: Wire, errors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If every request is rejected, halving has an end."""
    monkeypatch.setattr("bridge.aries.protocol.subscribing.MAX_HALVINGS", 50)
    symbols = {f"S{number}" for number in range(2000)}
    driver = drive(wire, *sorted(symbols))
    server = Server(driver, symbols, errors=errors)
    server.serve(driver.start())
    assert server.requests <= 2 * 10 + 2 * 50  # the first requests may have to be sent twice
    assert driver.session.subscribed_symbols == 0


def test_a_flood_of_rejections_does_not_affect_the_next_plan(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once all is settled, a rejected request is halved again."""
    monkeypatch.setattr("bridge.aries.protocol.subscribing.MAX_HALVINGS", 5)
    symbols = {f"S{number}" for number in range(100)}
    driver = drive(wire, *sorted(symbols))
    Server(driver, symbols).serve(driver.start())
    driver.session.replan(plan(["A", "BAD", "C"], ["quotes", "trades"]), driver.now)
    server = Server(driver, {"BAD"})
    server.serve([one for one in driver.sent() if symbols_of([one])])
    assert server.subscribed == {"A", "C"}


def test_an_answer_to_a_new_plan_is_not_taken_for_one_to_the_old() -> None:
    """Without ids, an answer that comes after the grace period is not expected any more."""
    wire = ActionWire()
    driver = drive(wire, "AAPL")
    driver.start()
    driver.wait(6)
    driver.session.replan(plan(["AAPL", "BAD"], ["quotes", "trades"]), driver.now)
    driver.sent()
    driver.events()
    driver.receive(wire.error(None, "unknown symbol"))
    assert driver.events() == [SymbolRejected("BAD", "unknown symbol"), Subscribed(1, ("BAD",))]


def test_answers_without_ids_mean_the_oldest_request() -> None:
    """In the older dialect answers come in the order of the requests: of three types the second is rejected."""
    wire = ActionWire()
    driver = drive(wire, "AAPL", events=("quotes", "timesales", "l2"))
    composite, timesales, level2 = driver.start()
    driver.events()
    driver.receive(wire.ack(composite), wire.error(timesales, "no time & sales"), wire.ack(level2))
    assert driver.events() == [SymbolRejected("AAPL", "no time & sales"), Subscribed(0, ("AAPL",))]
    assert driver.sent() == []


def test_an_unsubscribe_is_not_taken_for_a_subscribe() -> None:
    """The answer to an unsubscribe request settles no subscription."""
    wire = ActionWire()
    driver = drive(wire)
    driver.settle()
    driver.session.replan(plan(["AAPL", "NVDA"], ["quotes", "trades"]), driver.now)
    gone, new = driver.sent()
    driver.events()
    driver.receive(wire.ack(gone))
    assert driver.events() == []
    driver.receive(wire.ack(new))
    assert driver.events() == [Subscribed(2, ())]


def test_an_error_while_nothing_is_pending_is_reported(wire: Wire) -> None:
    """It changes nothing."""
    driver = drive(wire)
    driver.start()
    driver.wait(6)
    driver.events()
    driver.receive(wire.error(None, "something broke"))
    assert driver.events() == [ServerError("something broke")]
    assert driver.sent() == []
    assert driver.session.lost is None


def test_a_late_rejection_with_an_id_counts() -> None:
    """It corrects that the request counted as accepted."""
    wire = EnvelopeWire()
    driver = drive(wire, "BAD")
    (request,) = driver.start()
    driver.wait(6)
    driver.events()
    driver.receive(wire.error(request, "unknown symbol"))
    assert driver.events() == [SymbolRejected("BAD", "unknown symbol")]
    assert driver.session.subscribed_symbols == 0


# -- another plan ----------------------------------------------------------------------------------------------------


def test_another_plan_is_applied_by_the_difference(wire: Wire) -> None:
    """Removed symbols are unsubscribed, then new and changed ones are subscribed, and no others."""
    driver = drive(wire, "AAPL", "MSFT", "GOOGL")
    driver.settle()
    described = json.dumps([{"symbol": "MSFT", "fields": {"quotes": ["bidPrice"], "trades": ["size"]}}])
    driver.session.replan(plan(["AAPL", "MSFT", "NVDA"], ["quotes", "trades"], described), driver.now)
    requests = driver.sent()
    assert symbols_of(requests, "unsubscribe") == ["GOOGL"]
    assert sorted(symbols_of(requests)) == ["MSFT", "NVDA"]
    assert "unsubscribe" in requests[0].values()
    assert "bidPrice" in json.dumps(requests)
    driver.receive(*(wire.ack(one) for one in requests))
    assert driver.events() == [Subscribed(3, ())]


def test_the_same_plan_sends_nothing(wire: Wire) -> None:
    """Without a difference there is no request and no event."""
    driver = drive(wire)
    driver.settle()
    driver.session.replan(plan(["AAPL", "MSFT"], ["quotes", "trades"]), driver.now)
    assert driver.sent() == []
    assert driver.events() == []


def test_fewer_symbols_need_no_acknowledgement(wire: Wire) -> None:
    """If symbols are only removed, the session is settled at once."""
    driver = drive(wire)
    driver.settle()
    driver.session.replan(plan(["AAPL"], ["quotes", "trades"]), driver.now)
    assert symbols_of(driver.sent(), "unsubscribe") == ["MSFT"]
    assert driver.events() == [Subscribed(1, ())]


def test_removed_events_are_unsubscribed_only_if_subscriptions_add_up() -> None:
    """The older dialect has a subscription for each type, the newer one for each symbol."""
    for wire, unsubscribed in ((ActionWire(), ["AAPL"]), (EnvelopeWire(), [])):
        driver = drive(wire, "AAPL", events=("quotes", "l2"))
        driver.settle()
        driver.session.replan(plan(["AAPL"], ["quotes"]), driver.now)
        requests = driver.sent()
        assert symbols_of(requests, "unsubscribe") == unsubscribed
        assert [one["type"] for one in requests if one.get("action") == "unsubscribe"] == ["level2"][
            : len(unsubscribed)
        ]
        assert symbols_of(requests) == ["AAPL"]
        assert "level2" not in json.dumps(requests[-1])


def test_a_plan_that_changes_before_the_session_starts_is_used(wire: Wire) -> None:
    """The plan of the time when the token is accepted is subscribed to."""
    driver = drive(wire)
    request = driver.authenticate()
    driver.session.replan(plan(["NVDA"], ["quotes"]), driver.now)
    assert driver.sent() == []
    driver.receive(wire.accepted(request))
    assert symbols_of(driver.sent()) == ["NVDA"]


def test_a_late_rejection_does_not_bring_back_removed_symbols() -> None:
    """A request that is rejected after the plan has changed is sent again without the removed symbols."""
    wire = EnvelopeWire()
    driver = drive(wire, "A", "B", "C")
    (request,) = driver.start()
    driver.session.replan(plan(["A", "B"], ["quotes", "trades"]), driver.now)
    driver.sent()
    driver.receive(wire.error(request, "unknown symbol"))
    assert symbols_of(driver.sent()) == ["A", "B"]


def test_a_rejected_symbol_that_is_removed_is_no_longer_counted() -> None:
    """The count of subscribed symbols is right after a rejected one was removed."""
    wire = EnvelopeWire()
    driver = drive(wire, "A", "BAD")
    (request,) = driver.start()
    driver.receive(wire.error(request, "unknown symbol"))
    first, second = driver.sent()
    driver.receive(wire.ack(first), wire.error(second, "unknown symbol"))
    assert driver.session.subscribed_symbols == 1
    driver.session.replan(plan(["A"], ["quotes", "trades"]), driver.now)
    assert (driver.session.subscribed_symbols, driver.session.rejected_symbols) == (1, set())
