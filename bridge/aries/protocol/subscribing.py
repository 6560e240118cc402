"""Subscribing on one connection: which requests are pending, which symbols are rejected, and when all is settled.

How the server answers is not known (protocol §8) [A]: a request may be acknowledged or not, a rejection may name the
request's id or not, a bad symbol may cost its whole request, and one request may draw an error for each bad symbol.
So a rejected request is sent again in halves, until a bad symbol is rejected alone. With ids the halves go out at
once. Without ids the request of an answer is unknown, so from then on one request at a time is sent, each
after a pause in which further errors about the one before are discarded.

Two rejections are about no symbol, by their words (``bridge.aries.protocol.refusals``). If there are more symbols than
the server serves, one request at a time is sent until a symbol is rejected alone: it and all behind it are left out. If
the server has no time, the request is sent again after a pause that grows.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.aries.protocol import refusals
from bridge.aries.protocol.session_events import ServerError, Subscribed, SymbolLimitReached, SymbolRejected
from bridge.aries.protocol.symbol_limit import LimitSearch, SymbolLimit, halves
from bridge.aries.subscriptions import difference
from bridge.errors import DisconnectCause

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from bridge.aries.protocol.dialect import Dialect, Request, RequestIds
    from bridge.aries.protocol.messages import RequestRejected
    from bridge.aries.protocol.outgoing import Outgoing
    from bridge.aries.protocol.session_events import SessionEvent
    from bridge.aries.subscriptions import Plan, Subscription
    from bridge.aries.subscriptions.symbols import SymbolType

#: Requests that are not answered for this time count as accepted [A].
GRACE_SECONDS = 5.0
#: Errors about one request are not further apart than this [A].
PAUSE_SECONDS = 1.0
#: Rejected requests that are sent again in halves; a server that rejects more has another reason than a symbol.
MAX_HALVINGS = 1000
#: The pause before a request that the server had no time for; it doubles up to the second.
BUSY_SECONDS, MAX_BUSY_SECONDS = 5.0, 60.0
#: After so many such rejections in a row, without one that says that it gets too many requests, a symbol is at fault.
MAX_FAILURES = 3


class SubscribeState(StrEnum):
    """How far subscribing has got."""

    INACTIVE = "inactive"  # not authenticated yet
    SUBSCRIBING = "subscribing"  # requests are sent, all at once, and answers are pending
    PAUSED = "paused"  # a rejection without an id was ambiguous and more of them may come, or the server has no time
    RETRYING = "retrying"  # one request at a time is sent
    SETTLED = "settled"  # all is answered, or counts as accepted


class SubscribeTrigger(StrEnum):
    """What changes the state of subscribing."""

    REQUESTED = "requested"
    REJECTED_AMBIGUOUSLY = "request rejected without an id"
    LIMIT_EXCEEDED = "too many symbols"
    BUSY = "server has no time"
    PAUSE_ENDED = "pause ended"
    ALL_ANSWERED = "all answered, or none for the grace period"


_S, _T = SubscribeState, SubscribeTrigger
#: The state after each trigger; a trigger that is not listed for a state does not change it.
TRANSITIONS: Final[Mapping[SubscribeState, Mapping[SubscribeTrigger, SubscribeState]]] = MappingProxyType(
    {
        _S.INACTIVE: {_T.REQUESTED: _S.SUBSCRIBING},
        _S.SUBSCRIBING: {
            _T.ALL_ANSWERED: _S.SETTLED,
            _T.REJECTED_AMBIGUOUSLY: _S.PAUSED,
            _T.LIMIT_EXCEEDED: _S.RETRYING,
            _T.BUSY: _S.PAUSED,
        },
        _S.PAUSED: {_T.PAUSE_ENDED: _S.RETRYING},
        _S.RETRYING: {_T.ALL_ANSWERED: _S.SETTLED, _T.REJECTED_AMBIGUOUSLY: _S.PAUSED, _T.BUSY: _S.PAUSED},
        _S.SETTLED: {_T.REQUESTED: _S.SUBSCRIBING, _T.LIMIT_EXCEEDED: _S.RETRYING, _T.BUSY: _S.PAUSED},
    }
)
_ONE_AT_A_TIME = (_S.PAUSED, _S.RETRYING)
_ANSWER_DUE = (_S.SUBSCRIBING, _S.RETRYING)


class Subscribing:
    """The state machine of subscribing; frames and events go to the session's own queue and list."""

    def __init__(
        self,
        dialect: Dialect,
        plan: Plan,
        request_ids: RequestIds,
        *,
        outgoing: Outgoing,
        events: list[SessionEvent],
        limit: SymbolLimit | None = None,
    ) -> None:
        self.state = SubscribeState.INACTIVE
        self.plan = plan
        self.rejected_symbols: set[str] = set()
        self._dialect = dialect
        self._request_ids = request_ids
        self._outgoing = outgoing
        self._events = events
        self._pending: dict[str, Request] = {}  # by id, oldest first
        self._queued: deque[tuple[Subscription, ...]] = deque()  # of one request each
        self._deadline: float | None = None  # of the answers, or of the pause
        self._halvings = 0
        self._limit = limit or SymbolLimit()
        self._beyond_limit: set[str] = set()
        self._accepted: set[str] = set()  # symbols of requests that were accepted
        self._limit_search = LimitSearch()
        self._limit_found = False
        self._sent_alone = False  # whether the newest request was
        self._failures = 0  # rejections in a row for which the server had no time
        self._acknowledges = False  # without ids: so each request has one answer, in the order of the requests

    @property
    def subscribed_symbols(self) -> int:
        """Return how many symbols are requested and not rejected."""
        return len(self.plan) - len(self.rejected_symbols)

    def start(self, now: float) -> None:
        """Subscribe to the whole plan, as at the start of a session."""
        self._forget(self.plan.keys())
        self._accepted.clear()
        self._limit_search, self._limit_found, self._failures = LimitSearch(), False, 0
        self._beyond_limit = set(self._limit.beyond(self.plan, now))
        self.rejected_symbols |= self._beyond_limit
        self._request(_without(self._beyond_limit, tuple(self.plan.values())), now)

    def subscribe_again(self, now: float) -> None:
        """Subscribe to all that is not rejected, in case the server has lost it; not while answers are due."""
        if self.state is SubscribeState.SETTLED:
            wanted = _without(self.rejected_symbols, tuple(self.plan.values()))
            self._pending.clear()
            self._request(wanted, now)

    def symbol_types(self) -> frozenset[SymbolType]:
        """Return the types of the symbols that are requested and not rejected."""
        return frozenset(one.type for symbol, one in self.plan.items() if symbol not in self.rejected_symbols)

    def replan(self, plan: Plan, now: float) -> None:
        """Apply another plan by the difference, or keep it until the session starts."""
        change = difference(self.plan, plan)
        self.plan = plan
        if self.state is SubscribeState.INACTIVE or not change:
            return
        removed_events = change.removed_events if self._dialect.subscriptions_add_up else ()
        removed = (*removed_events, *change.unsubscribe)
        subscribe = self._with_beyond_limit(change.subscribe)
        self._forget({one.symbol for one in (*subscribe, *removed)})
        requests = self._dialect.unsubscribe(removed, self._request_ids.of("unsub"))
        for request in requests:
            self._outgoing.add(request.frame)
        self._request(subscribe, now)

    def acknowledge(self, request_id: str | None, now: float) -> None:
        """Note that a request was accepted."""
        if (request := self._take_answered(request_id, now)) is not None:
            self._accept(request)
            self._acknowledges = self._acknowledges or request_id is None
            self._continue(now)

    def reject(self, rejection: RequestRejected, now: float) -> None:
        """Send the rejected request again in halves or later, or leave its symbol out."""
        request = self._take_answered(rejection.request_id, now)
        over_limit = refusals.is_symbol_limit(rejection.error)
        if request is None:
            if not (over_limit and (self._limit_search.active or self._beyond_limit)):
                self._events.append(ServerError(rejection.error))
        elif over_limit:
            self._find_limit(request, rejection, now)
        elif self._is_busy(rejection.error):
            self._send_later(request.subscriptions, rejection, now)
        elif self._is_final(request, rejection):
            self._leave_out(request.subscriptions, rejection.error)
        else:
            self._retry(request.subscriptions, rejection, now)
        self._continue(now)

    def tick(self, now: float) -> None:
        """End the pause or the wait for answers once its time is over."""
        if self._outgoing.requests_wait and self.state in _ANSWER_DUE:
            self._deadline = now + GRACE_SECONDS  # an answer is due only once its request is sent
        if self._deadline is None or now < self._deadline:
            return
        if self.state is SubscribeState.PAUSED:
            self._move(SubscribeTrigger.PAUSE_ENDED)
        if self.state is SubscribeState.RETRYING:
            for request in self._pending.values():  # what is not answered by now counts as accepted
                self._accept(request)
            self._pending.clear()
            self._continue(now)
        else:
            self._settle()  # requests stay pending: a later rejection that names one is still understood

    @property
    def next_tick(self) -> float:
        """Return when ``tick`` has something to do, unless an answer comes or a request is sent before."""
        return inf if self._deadline is None else self._deadline

    def _request(self, subscriptions: Sequence[Subscription], now: float) -> None:
        requests = self._dialect.subscribe(subscriptions, self._request_ids.of("sub"))
        if self.state in _ONE_AT_A_TIME:
            self._queued += [request.subscriptions for request in requests]
        else:
            self._send(requests, now)
            self._move(SubscribeTrigger.REQUESTED)
        self._continue(now)

    def _send(self, requests: Iterable[Request], now: float, *, alone: bool = False) -> None:
        self._sent_alone = alone
        for request in requests:
            self._pending[request.request_id] = request
            self._outgoing.add(request.frame)
        self._deadline = now + GRACE_SECONDS

    def _continue(self, now: float) -> None:
        """Send the next request if none is pending; settle if there is none."""
        if self._pending or self.state not in _ANSWER_DUE:
            return
        while self._queued:
            if subscriptions := self._limit_search.take(self._queued):
                self._send(self._dialect.subscribe(subscriptions, self._request_ids.of("sub")), now, alone=True)
                return
        self._settle()

    def _settle(self) -> None:
        self._move(SubscribeTrigger.ALL_ANSWERED)
        self._deadline = None
        self._halvings = 0
        self._limit_search = LimitSearch()
        self._events.append(Subscribed(self.subscribed_symbols, tuple(sorted(self.rejected_symbols))))

    def _forget(self, symbols: Collection[str]) -> None:
        """Drop symbols from all earlier requests, so that late answers to these do not concern them."""
        self.rejected_symbols.difference_update(symbols)
        self._accepted.difference_update(symbols)
        if self.state is SubscribeState.SETTLED:
            self._pending.clear()
        for request_id, request in self._pending.items():
            left = _without(symbols, request.subscriptions)
            self._pending[request_id] = msgspec.structs.replace(request, subscriptions=left)
        self._queued = deque(_without(symbols, subscriptions) for subscriptions in self._queued)

    def _take_answered(self, request_id: str | None, now: float) -> Request | None:
        """Return the request that is answered: without an id the oldest one, while answers are due [A]."""
        if request_id is None and self.state in _ANSWER_DUE:
            request_id = next(iter(self._pending), None)
        if request_id is None:
            if self.state is SubscribeState.PAUSED:
                self._deadline = max(self._deadline or now, now + PAUSE_SECONDS)
            return None
        return self._pending.pop(request_id, None)

    def _is_final(self, request: Request, rejection: RequestRejected) -> bool:
        """Return whether it is certain which symbol was rejected, or too many requests were."""
        return self._halvings >= MAX_HALVINGS or self._is_certain(request, rejection)

    def _is_certain(self, request: Request, rejection: RequestRejected) -> bool:
        if len(request.subscriptions) > 1:
            return False
        return rejection.request_id is not None or not self._pending or self._acknowledges

    def _retry(self, subscriptions: tuple[Subscription, ...], rejection: RequestRejected, now: float) -> None:
        if not self._halvings:
            note = f"symbols in the rejected request: {len(subscriptions)}; retrying in halves"
            self._events.append(ServerError(f"{rejection.error} ({note})"))
        self._halvings += 1
        if rejection.request_id is not None:
            for half in halves(subscriptions):
                self._request(half, now)
        else:
            self._queue_again(halves(subscriptions), now)

    def _queue_again(self, again: Iterable[tuple[Subscription, ...]], now: float) -> None:
        """Send these again, and all that is pending: the next answer may be another error about the same request."""
        unanswered = [request.subscriptions for request in self._pending.values()]
        for request in self._pending.values():
            self._outgoing.withdraw(request.frame)
        self._queued = deque((*again, *unanswered, *self._queued))
        self._pending.clear()
        self._move(SubscribeTrigger.REJECTED_AMBIGUOUSLY)
        self._deadline = now + PAUSE_SECONDS

    def _accept(self, request: Request) -> None:
        self._accepted.update(one.symbol for one in request.subscriptions)
        self._failures = 0
        if self._sent_alone:
            self._limit_search.accepted(len(request.subscriptions))

    # -- more symbols than the server serves ------------------------------------------------------------------------

    def _find_limit(self, request: Request, rejection: RequestRejected, now: float) -> None:
        """Send a request that exceeds the limit again, alone; leave out what is behind the limit once that is found."""
        has_id, search = rejection.request_id is not None, self._limit_search
        if not request.subscriptions:
            return  # they are no longer wanted
        search.active = True
        if not self._sent_alone:
            self._send_alone(request, now, has_id=has_id)
        elif search.is_over(certain=self._is_certain(request, rejection)):
            self._leave_out_beyond(request.subscriptions, rejection.error, now)
        else:
            search.queue_again(self._queued, request.subscriptions)
            if not has_id:  # further errors about the same request are ambiguous
                self._move(SubscribeTrigger.REJECTED_AMBIGUOUSLY)
                self._deadline = now + PAUSE_SECONDS

    def _send_alone(self, request: Request, now: float, *, has_id: bool) -> None:
        """Send requests alone from now on: first whole, as others of the plan may be accepted before this one."""
        self._withdraw_requests()
        if has_id:
            places = {symbol: place for place, symbol in enumerate(self.plan)}
            queued = [one for one in (request.subscriptions, *self._queued) if one]
            self._queued = deque(sorted(queued, key=lambda one: places[one[0].symbol]))  # what is pending comes first
            self._move(SubscribeTrigger.LIMIT_EXCEEDED)
            self._deadline = now + GRACE_SECONDS
        else:
            self._limit_search.sent_together = 1 + len(self._pending)
            self._queue_again((request.subscriptions,), now)

    def _leave_out_beyond(self, subscriptions: Sequence[Subscription], error: str, now: float) -> None:
        """Leave out these symbols and all that wait behind them, but those that are served already, once."""
        served = set() if self._limit_found else self._accepted
        waiting = {one.symbol for queued in self._queued for one in queued}
        beyond = {one.symbol for one in subscriptions} | (waiting - served)
        self._limit_found = True
        self._queued = deque(_without(beyond, queued) for queued in self._queued)
        new = beyond - self._beyond_limit
        self.rejected_symbols |= beyond
        self._beyond_limit |= beyond
        self._limit.learn(self._beyond_limit, self.plan, now)
        if left_out := tuple(symbol for symbol in self.plan if symbol in new):
            self._events.append(SymbolLimitReached(self.subscribed_symbols, left_out, error))

    def _with_beyond_limit(self, subscriptions: tuple[Subscription, ...]) -> tuple[Subscription, ...]:
        """Return these and what is beyond the limit of the plan before, as another plan may have room for it."""
        beyond = self._beyond_limit - {one.symbol for one in subscriptions}
        self._beyond_limit = set()
        self._limit_found = False
        return (*subscriptions, *(one for symbol, one in self.plan.items() if symbol in beyond))

    # -- a server that has no time ----------------------------------------------------------------------------------

    def _is_busy(self, error: str) -> bool:
        """Return whether the server had no time for a request, rather than a reason to reject a symbol."""
        cause = refusals.cause_of(error)
        if cause in (DisconnectCause.SERVER_ERROR, DisconnectCause.MAINTENANCE):
            return self._failures < MAX_FAILURES
        return cause is DisconnectCause.THROTTLED

    def _send_later(self, subscriptions: tuple[Subscription, ...], rejection: RequestRejected, now: float) -> None:
        """Send a request again after a pause; without an id also what else is not answered, as it may be that."""
        seconds = min(BUSY_SECONDS * 2.0 ** min(self._failures, 10), MAX_BUSY_SECONDS)
        if not self._failures:
            self._events.append(ServerError(f"{rejection.error} (requesting again after {seconds:g} s)"))
        self._failures += 1
        if rejection.request_id is None:
            self._queue_again((subscriptions,), now)
        else:
            self._queued.appendleft(subscriptions)
            self._withdraw_requests()
        self._move(SubscribeTrigger.BUSY)
        self._deadline = now + seconds

    def _withdraw_requests(self) -> None:
        """Queue requests again that are not sent yet, so that they are sent one at a time."""
        for request_id, request in list(self._pending.items()):
            if self._outgoing.withdraw(request.frame):
                del self._pending[request_id]
                self._queued.append(request.subscriptions)

    def _leave_out(self, subscriptions: Sequence[Subscription], error: str) -> None:
        self.rejected_symbols.update(one.symbol for one in subscriptions)
        if len(subscriptions) > 1:
            self._events.append(ServerError(f"{error} ({len(subscriptions)} symbols left out)"))
        else:
            self._events += [SymbolRejected(one.symbol, error) for one in subscriptions]

    def _move(self, trigger: SubscribeTrigger) -> None:
        self.state = TRANSITIONS[self.state].get(trigger, self.state)


def _without(symbols: Collection[str], subscriptions: tuple[Subscription, ...]) -> tuple[Subscription, ...]:
    return tuple(one for one in subscriptions if one.symbol not in symbols)
