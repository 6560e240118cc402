"""One client's conversation with the simulator."""

from __future__ import annotations

import asyncio
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

import msgspec
from websockets.exceptions import ConnectionClosed

from bridge.simulator import faults
from bridge.simulator.dialect import AuthWord
from bridge.simulator.fields import ANY_FIELDS, Kind, SymbolClass, as_numbers, symbol_class
from bridge.simulator.outbox import Outgoing
from bridge.simulator.requests import (
    Authenticate,
    Json,
    Ping,
    Request,
    Subscribe,
    SymbolRequest,
    Unreadable,
    Unsubscribe,
    Wanted,
)
from bridge.simulator.status import status_fields
from bridge.simulator.tally import Mark, Tally
from bridge.simulator.world import Happening, Received, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.simulator.dialect import Dialect, PriceStyle
    from bridge.simulator.link import Link
    from bridge.simulator.market import MarketEvent

_POLICY_VIOLATION: Final = 1008  # RFC 6455, section 7.4.1
#: Kinds whose current state a new subscriber is shown. Level 2 has no initial snapshot; a sale is an event.
_SHOWN_AT_ONCE: Final = (Kind.QUOTE, Kind.TRADE, Kind.GREEKS)
_RAW: Final = Mark("raw")


class Session:
    """Answer one client's requests and pass on the market data that it asked for.

    ``rights_changed`` is called when what the client gets may have changed.
    """

    def __init__(
        self,
        number: int,
        link: Link,
        dialect: Dialect,
        world: World,
        *,
        prices: PriceStyle,
        rights_changed: Callable[[Session], None],
    ) -> None:
        self.number = number
        self.link = link
        self.dialect = dialect
        self.authenticated = False
        self.subscriptions: dict[str, dict[Kind, Wanted]] = {}
        self._world = world
        self._rights_changed = rights_changed
        self._prices = prices
        self._encoder = msgspec.json.Encoder(decimal_format=prices)
        self._loop = asyncio.get_running_loop()
        self._late_answers: list[asyncio.TimerHandle] = []
        self._term: list[asyncio.TimerHandle] = []

    def __repr__(self) -> str:
        return f"Session(number={self.number}, dialect={self.dialect.name!r}, authenticated={self.authenticated})"

    @property
    def sent(self) -> Tally:
        """Return the exact counts of what was written to this client."""
        return self.link.sent

    async def run(self) -> None:
        """Converse until the connection ends."""
        self._end_if_cut_short("connected")
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self.link.write())
                await self._listen()
                writer.cancel()
        finally:
            for timer in (*self._late_answers, *self._term):
                timer.cancel()
            self.link.abandon()

    async def _listen(self) -> None:
        try:
            while True:
                self._receive(await self.link.receive())
        except ConnectionClosed as closed:
            self._tell("connection ended", str(closed))

    def _tell(self, what: str, details: str = "") -> None:
        self._world.watch(Happening(what, self.number, details))

    # Requests

    def _receive(self, message: bytes) -> None:
        for line in message.split(b"\n"):
            if line.strip():
                self._receive_line(line)

    def _receive_line(self, line: bytes) -> None:
        document: object = None
        try:
            document = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            request: Request = Unreadable("message", "message is not JSON", None)
        else:
            request = self.dialect.read(document)
        self._handle(request)
        self._world.note(Received(self.number, request, document))

    def _handle(self, request: Request) -> None:
        match request:
            case Ping():
                self._answer_ping(request)
            case Authenticate():
                self._authenticate(request)
            case Unreadable():
                self._refuse(request)
            case _ if not self.authenticated:
                self._say_auth_word(AuthWord.REQUIRED)
            case Subscribe():
                self._subscribe(request)
            case Unsubscribe():
                self._unsubscribe(request)

    def _answer_ping(self, ping: Ping) -> None:
        no_pongs = self._world.standing.find(faults.NoPongs)
        if not (no_pongs and no_pongs.application):
            self._say(self.dialect.pong(ping.request_id), "pong")

    def _refuse(self, request: Unreadable) -> None:
        self._tell("request refused", request.problem)
        if request.action == "auth":
            self._refuse_auth(request.request_id, request.problem)
        else:
            self._say_error(request.action, request.problem, request.request_id)

    # Authentication

    def _authenticate(self, request: Authenticate) -> None:
        if self._world.standing.take(faults.IgnoreAuth):
            self._tell("authentication left without answer")
            return
        late = self._world.standing.take(faults.LateAuth)
        if late:
            answer = partial(self._answer_auth, request)
            self._late_answers.append(self._loop.call_later(late.by_seconds, answer))
        else:
            self._answer_auth(request)

    def _answer_auth(self, request: Authenticate) -> None:
        fault = self._world.standing.take(faults.RefuseAuth)
        objection = fault.error if fault else self._objection(request)
        if not objection:
            self._accept_auth(request)
            return
        self._tell("authentication refused", objection)
        self._refuse_auth(request.request_id, objection)
        if fault and fault.close:
            self.close(_POLICY_VIOLATION, objection)

    def _objection(self, request: Authenticate) -> str | None:
        api_key = self._world.terms.api_key
        if api_key is not None and self.dialect.name == "action" and request.api_key != api_key:
            return "xAPIKey is required"
        return None if self._world.tokens.take(request.token, self._world.clock()) else "authentication failed"

    def _accept_auth(self, request: Authenticate) -> None:
        terms, now = self._world.terms, self._world.clock()
        self._tell("authenticated again" if self.authenticated else "authenticated")
        self.authenticated = True
        self._world.authentications += 1
        for _ in range(2 if self._world.standing.take(faults.RepeatAuth) else 1):
            self._say(self.dialect.auth_accepted(request.request_id, terms.expires_in_seconds, now), "auth")
        self._start_term(terms.expires_in_seconds, terms.warning_seconds, close=terms.close_on_expiry)
        self.tell_market_status()
        self._rights_changed(self)
        self._end_if_cut_short("authenticated")

    def _refuse_auth(self, request_id: str | None, error: str) -> None:
        self._say(self.dialect.auth_refused(request_id, error, self._world.clock()), "auth")

    def expire(self, warning_seconds: float, *, close: bool) -> None:
        """Warn now, and end the session's rights that many seconds later unless it authenticates again."""
        self._start_term(warning_seconds, warning_seconds, close=close)

    def forget_auth(self) -> None:
        """Take the session's rights away and say so."""
        self._lose_rights(AuthWord.REQUIRED)

    def _start_term(self, seconds: float, warning_seconds: float, *, close: bool) -> None:
        for timer in self._term:
            timer.cancel()
        self._term = [self._loop.call_later(seconds, partial(self._expired, close=close))]
        warn = partial(self._say_auth_word, AuthWord.REFRESH)
        if warning_seconds == seconds:
            warn()
        elif 0 < warning_seconds < seconds:
            self._term.append(self._loop.call_later(seconds - warning_seconds, warn))

    def _expired(self, *, close: bool) -> None:
        self._lose_rights(AuthWord.EXPIRED)
        if close:
            self.close(_POLICY_VIOLATION, "session expired")

    def _lose_rights(self, word: AuthWord) -> None:
        self.authenticated = False
        self._say_auth_word(word)
        self._rights_changed(self)

    def _say_auth_word(self, word: AuthWord) -> None:
        self._tell("told", word.value)
        self._say(self.dialect.auth_word(word, self._world.clock()), "auth")

    # Subscriptions

    def _subscribe(self, request: Subscribe) -> None:
        problems = [self._problem(item) for item in request.items]
        taken = [item for item, problem in zip(request.items, problems, strict=True) if not problem]
        for item in taken:
            had = {} if item.replaces else self.subscriptions.get(item.symbol, {})
            self.subscriptions[item.symbol] = {**had, **item.kinds}
        self._tell("subscribed", f"{len(taken)} of {len(request.items)} symbols")
        for problem in filter(None, problems):
            self._say_error("subscribe", problem, request.request_id)
        if not any(problems):
            self._acknowledge("subscribe", request.request_id)
        self._rights_changed(self)
        for item in taken:
            self._show_current(item)
        self._end_if_cut_short("subscribed")

    def _unsubscribe(self, request: Unsubscribe) -> None:
        for symbol, kinds in request.items:
            had = self.subscriptions.pop(symbol, {})
            left = {kind: wanted for kind, wanted in had.items() if kinds is not None and kind not in kinds}
            if left:
                self.subscriptions[symbol] = left
        self._tell("unsubscribed", f"{len(request.items)} symbols")
        self._acknowledge("unsubscribe", request.request_id)
        self._rights_changed(self)

    def _problem(self, item: SymbolRequest) -> str | None:
        fault = self._world.standing.take(faults.RefuseSymbol, lambda fault: fault.symbol == item.symbol)
        if fault:
            return f"{fault.error}: {item.symbol}"
        known = self._world.terms.symbols
        if known is not None and item.symbol not in known:
            return f"unknown symbol: {item.symbol}"
        is_option = symbol_class(item.symbol) is SymbolClass.OPTION
        if item.symbol_class is not None and is_option != (item.symbol_class is SymbolClass.OPTION):
            return f"no such {item.symbol_class}: {item.symbol}"
        return None

    def _acknowledge(self, action: str, request_id: str | None) -> None:
        if not self._world.standing.take(faults.NoAcks):
            self._say(self.dialect.ack(action, request_id), "ack")

    def _show_current(self, item: SymbolRequest) -> None:
        """Send the current state, one update for all kinds that were asked for under the same word."""
        now = self._world.clock()
        groups: dict[str, dict[Kind, Json]] = {}
        for kind in _SHOWN_AT_ONCE:
            wanted = item.kinds.get(kind)
            if wanted:
                chosen = _chosen(self._world.market.current(item.symbol, kind, now), wanted)
                groups.setdefault(wanted.word, {})[kind] = chosen
        for word, states in groups.items():
            kinds = tuple(kind for kind, fields in states.items() if not fields.keys() <= ANY_FIELDS)
            merged = {name: value for fields in states.values() for name, value in fields.items()}
            if kinds:
                merged = self._with_told_prices(merged)
                self.link.put(self._update(word, item.symbol, merged, kinds))

    # What is sent

    def offer(self, event: MarketEvent) -> bool:
        """Send an event if the client asked for it; tell whether it goes out."""
        line = self._line(event)
        return line is not None and self.link.put(line)

    def tell_market_status(self) -> None:
        """Send the state of the market."""
        now = self._world.clock()
        status = status_fields(self._world.state, now)
        self._say(self.dialect.market_status(status, now), "marketStatus")

    def send_line(self, line: bytes) -> bool:
        """Queue any bytes as one line."""
        return self.link.put(Outgoing(line, (_RAW,)))

    def send_frame(self, data: bytes) -> bool:
        """Queue any bytes as a frame of their own."""
        lines = sum(1 for line in data.split(b"\n") if line.strip())
        return self.link.put(Outgoing(data, (_RAW,) * lines, alone=True))

    def send_unknown(self, word: str, symbol: str, fields: Json) -> bool:
        """Send an update under any word, with any fields."""
        document = self.dialect.update(word, symbol, fields, self._world.clock())
        return self.send_line(self._encoder.encode(document))

    def send_extended(self, extra: Json) -> bool:
        """Send a market event that the client follows, with fields added that it did not choose."""
        line = self._some_line(extra)
        return line is not None and self.link.put(line)

    def send_between(self, line: bytes) -> bool:
        """Send a line in one frame between two market events that the client follows."""
        before, after = self._some_line(), self._some_line()
        lines = [item for item in (before, Outgoing(line, (_RAW,)), after) if item]
        data = b"\n".join(item.data for item in lines)
        return self.link.put(Outgoing(data, tuple(mark for item in lines for mark in item.marks), alone=True))

    def close(self, code: int, reason: str) -> None:
        """Close the connection behind what is queued already."""
        self._tell("closing", f"{code} {reason}".rstrip())
        self.link.close(code, reason)

    def _end_if_cut_short(self, stage: str) -> None:
        cut = self._world.standing.take(faults.CutShort, lambda fault: fault.once == stage)
        if cut:
            self.close(cut.code, cut.reason)

    def _some_line(self, extra: Json | None = None) -> Outgoing | None:
        """Let something happen to what the client subscribed to first."""
        for symbol, kinds in self.subscriptions.items():
            for kind in kinds:
                return self._line(self._world.market.move(symbol, kind, self._world.clock()), extra)
        return None

    def _line(self, event: MarketEvent, extra: Json | None = None) -> Outgoing | None:
        wanted = self.subscriptions.get(event.symbol, {}).get(event.kind)
        if wanted is None or not self.authenticated:
            return None
        only_changes = self._world.terms.partial or self._world.standing.find(faults.Partial)
        fields = _chosen(event.changed if only_changes else event.fields, wanted)
        if fields.keys() <= ANY_FIELDS:
            return None
        if event.as_told:
            fields = self._with_told_prices(fields)
        return self._update(wanted.word, event.symbol, {**fields, **extra} if extra else fields, (event.kind,))

    def _update(self, word: str, symbol: str, fields: Json, kinds: tuple[Kind, ...]) -> Outgoing:
        document = self.dialect.update(word, symbol, fields, self._world.clock())
        return Outgoing(self._encoder.encode(document), (_mark(symbol, kinds),))

    def _with_told_prices(self, fields: Json) -> Json:
        """Make numbers of prices that are text, where prices travel as numbers."""
        return as_numbers(fields) if self._prices == "number" else fields

    def _say_error(self, action: str, error: str, request_id: str | None) -> None:
        self._say(self.dialect.error(action, error, request_id, self._world.clock()), "error")

    def _say(self, document: Json | None, word: str) -> None:
        if document is not None:
            line = Outgoing(self._encoder.encode(document), (Mark(word),))
            self.link.answer(line, is_pong=word == "pong")


@lru_cache(maxsize=65_536)
def _mark(symbol: str, kinds: tuple[Kind, ...]) -> Mark:
    word = kinds[0].value if len(kinds) == 1 else "composite"
    return Mark(word, tuple((kind, symbol) for kind in kinds))


def _chosen(fields: Json, wanted: Wanted) -> Json:
    if wanted.fields is None:
        return fields
    return {name: value for name, value in fields.items() if name in wanted.fields}
