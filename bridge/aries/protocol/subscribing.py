"""Subscribing on one connection: which requests are pending, which symbols are rejected, and when all is settled.

How the server answers is not known (protocol §8) [A]: a request may be acknowledged or not, a rejection may name the
request's id or not, a bad symbol may cost its whole request, and one request may draw an error for each bad symbol.
So a rejected request is sent again in halves, until a bad symbol is rejected alone. With ids the halves go out at
once. Without ids the request of an answer is unknown, so from then on one request at a time is sent, each
after a pause in which further errors about the one before are discarded.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.aries.protocol.session_events import ServerError, Subscribed, SymbolRejected
from bridge.aries.subscriptions import difference

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


class SubscribeState(StrEnum):
    """How far subscribing has got."""

    INACTIVE = "inactive"  # not authenticated yet
    SUBSCRIBING = "subscribing"  # requests are sent, all at once, and answers are pending
    PAUSED = "paused"  # a rejection without an id was ambiguous, and more of them may come
    RETRYING = "retrying"  # one request at a time is sent
    SETTLED = "settled"  # all is answered, or counts as accepted


class SubscribeTrigger(StrEnum):
    """What changes the state of subscribing."""

    REQUESTED = "requested"
    REJECTED_AMBIGUOUSLY = "request rejected without an id"
    PAUSE_ENDED = "pause ended"
    ALL_ANSWERED = "all answered, or none for the grace period"


_S, _T = SubscribeState, SubscribeTrigger
#: The state after each trigger; a trigger that is not listed for a state does not change it.
TRANSITIONS: Final[Mapping[SubscribeState, Mapping[SubscribeTrigger, SubscribeState]]] = MappingProxyType(
    {
        _S.INACTIVE: {_T.REQUESTED: _S.SUBSCRIBING},
        _S.SUBSCRIBING: {_T.ALL_ANSWERED: _S.SETTLED, _T.REJECTED_AMBIGUOUSLY: _S.PAUSED},
        _S.PAUSED: {_T.PAUSE_ENDED: _S.RETRYING},
        _S.RETRYING: {_T.ALL_ANSWERED: _S.SETTLED, _T.REJECTED_AMBIGUOUSLY: _S.PAUSED},
        _S.SETTLED: {_T.REQUESTED: _S.SUBSCRIBING},
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
        self._acknowledges = False  # without ids: so each request has one answer, in the order of the requests

    @property
    def subscribed_symbols(self) -> int:
        """Return how many symbols are requested and not rejected."""
        return len(self.plan) - len(self.rejected_symbols)

    def start(self, now: float) -> None:
        """Subscribe to the whole plan, as at the start of a session."""
        self._forget(self.plan.keys())
        self._request(tuple(self.plan.values()), now)

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
        self._forget({one.symbol for one in (*change.subscribe, *removed)})
        requests = self._dialect.unsubscribe(removed, self._request_ids.of("unsub"))
        for request in requests:
            self._outgoing.add(request.frame)
        self._request(change.subscribe, now)

    def acknowledge(self, request_id: str | None, now: float) -> None:
        """Note that a request was accepted."""
        if self._take_answered(request_id, now):
            self._acknowledges = self._acknowledges or request_id is None
            self._continue(now)

    def reject(self, rejection: RequestRejected, now: float) -> None:
        """Send the rejected request again in halves, or leave its symbol out."""
        request = self._take_answered(rejection.request_id, now)
        if request is None:
            self._events.append(ServerError(rejection.error))
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
            self._pending.clear()  # what is not answered by now counts as accepted
            self._continue(now)
        else:
            self._settle()  # requests stay pending: a later rejection that names one is still understood

    def _request(self, subscriptions: Sequence[Subscription], now: float) -> None:
        requests = self._dialect.subscribe(subscriptions, self._request_ids.of("sub"))
        if self.state in _ONE_AT_A_TIME:
            self._queued += [request.subscriptions for request in requests]
        else:
            self._send(requests, now)
            self._move(SubscribeTrigger.REQUESTED)
        self._continue(now)

    def _send(self, requests: Iterable[Request], now: float) -> None:
        for request in requests:
            self._pending[request.request_id] = request
            self._outgoing.add(request.frame)
        self._deadline = now + GRACE_SECONDS

    def _continue(self, now: float) -> None:
        """Send the next request if none is pending; settle if there is none."""
        if self._pending or self.state not in _ANSWER_DUE:
            return
        while self._queued:
            subscriptions = self._queued.popleft()
            if subscriptions:
                self._send(self._dialect.subscribe(subscriptions, self._request_ids.of("sub")), now)
                return
        self._settle()

    def _settle(self) -> None:
        self._move(SubscribeTrigger.ALL_ANSWERED)
        self._deadline = None
        self._halvings = 0
        self._events.append(Subscribed(self.subscribed_symbols, tuple(sorted(self.rejected_symbols))))

    def _forget(self, symbols: Collection[str]) -> None:
        """Drop symbols from all earlier requests, so that late answers to these do not concern them."""
        self.rejected_symbols.difference_update(symbols)
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
                self._deadline = now + PAUSE_SECONDS
            return None
        return self._pending.pop(request_id, None)

    def _is_final(self, request: Request, rejection: RequestRejected) -> bool:
        """Return whether it is certain which symbol was rejected, or too many requests were."""
        if self._halvings >= MAX_HALVINGS:
            return True
        if len(request.subscriptions) > 1:
            return False
        return rejection.request_id is not None or not self._pending or self._acknowledges

    def _retry(self, subscriptions: tuple[Subscription, ...], rejection: RequestRejected, now: float) -> None:
        if not self._halvings:
            note = f"symbols in the rejected request: {len(subscriptions)}; retrying in halves"
            self._events.append(ServerError(f"{rejection.error} ({note})"))
        self._halvings += 1
        middle = len(subscriptions) // 2
        halves = subscriptions[:middle], subscriptions[middle:]
        if rejection.request_id is not None:
            for half in halves:
                self._request(half, now)
            return
        # The next answer may be another error about this request: so all that is pending is sent again.
        unanswered = [request.subscriptions for request in self._pending.values()]
        self._queued = deque((*halves, *unanswered, *self._queued))
        self._pending.clear()
        self._move(SubscribeTrigger.REJECTED_AMBIGUOUSLY)
        self._deadline = now + PAUSE_SECONDS

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
