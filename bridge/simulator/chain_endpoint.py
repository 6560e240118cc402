"""The simulator's REST endpoints for option chains, on the port of its WebSocket, and failing answers on demand."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from websockets.datastructures import Headers
from websockets.http11 import Response

from bridge.simulator import faults
from bridge.simulator.option_chains import ListedOption, OptionChains
from bridge.simulator.shared_state import ServerEvent
from bridge.tasks import wait_until_set

if TYPE_CHECKING:
    import asyncio

    from websockets.http11 import Request

    from bridge.simulator.feed_timestamps import Clock
    from bridge.simulator.shared_state import SharedState

_SNAPSHOT: Final = re.compile(r"/v1/options/snapshot/chain/(?P<underlying>[^/]+)")
_CONTRACTS: Final = re.compile(r"/v1/options/(?P<underlying>[^/]+)/contracts/(?P<expiration>\d{4}-\d{2}-\d{2})")
_HTML: Final = b"<html><body><h1>Bad gateway</h1></body></html>"
_REASONS: Final = {200: "OK", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 429: "Too Many Requests"}
#: Contracts in one answer of the snapshot.
PAGE_SIZE: Final = 250


class ChainEndpoint:
    """The answers to requests for option chains; ``requests`` has the path of each, with its query."""

    def __init__(self, state: SharedState, stopping: asyncio.Event, clock: Clock | None = None) -> None:
        """Serve the chains of a market, which expire by the clock, or by that of the state."""
        self.chains = OptionChains(state.market, clock or state.clock, state.configuration.symbols)
        self.page_size = PAGE_SIZE
        self.requests: list[str] = []
        self._state = state
        self._stopping = stopping

    async def answer(self, request: Request) -> Response | None:
        """Return the answer to a request for a chain, None if it is for something else."""
        parts = urlsplit(request.path)
        snapshot, contracts = _SNAPSHOT.fullmatch(parts.path), _CONTRACTS.fullmatch(parts.path)
        match = snapshot or contracts
        if match is None:
            return None
        underlying = unquote(match["underlying"])
        self.requests.append(request.path)
        self._state.changes.notify()
        fault = self._state.active_faults.take(faults.ChainAnswer, lambda fault: fault.underlying in (None, underlying))
        if fault is not None and fault.delay_seconds:
            await wait_until_set(self._stopping, fault.delay_seconds)
        if fault is not None and fault.status != 200:  # noqa: PLR2004 - a normal answer
            self._state.on_event(ServerEvent("chain request failed", None, str(fault.status)))
            return _failure(fault)
        if not self._is_authorized(request):
            return _json({"message": "Unauthorized"}, 401)
        if snapshot:
            host = (fault and fault.next_host) or f"http://{request.headers.get('Host', 'localhost')}"
            document = self._page(underlying, _offset(parts.query), f"{host}{parts.path}")
        else:
            assert contracts is not None
            document = self._contracts(
                underlying, date.fromisoformat(contracts["expiration"]), old=bool(fault and fault.old)
            )
        response = _json(document, 200 if document else 404)
        return response if fault is None else _spoiled(response, fault)

    def _is_authorized(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return scheme == "Bearer" and self._state.tokens.is_valid(token, self._state.clock())

    def _page(self, underlying: str, offset: int, url: str) -> dict[str, object]:
        listed = self.chains.listed(underlying)
        price = self.chains.price(underlying)
        end = offset + self.page_size
        return {
            "requestId": "simulated",
            **({"nextUrl": f"{url}?cursor={end}"} if end < len(listed) else {}),
            "results": [
                {
                    "details": {
                        "contractType": _type(option),
                        "exerciseStyle": "american",
                        "expirationDate": option.expiration.isoformat(),
                        "sharesPerContract": 100,
                        "strikePrice": option.strike,
                        "ticker": f"O:{option.symbol}",
                    },
                    "openInterest": 1,
                    "underlyingAsset": {"price": price, "ticker": underlying},
                }
                for option in listed[offset:end]
            ],
        }

    def _contracts(self, underlying: str, expiration: date, *, old: bool) -> dict[str, object]:
        """Return the contracts of one expiration; none is no document, which is answered with 404."""
        listed = [option for option in self.chains.listed(underlying) if option.expiration == expiration]
        if not listed:
            return {}
        if old:
            return {
                "contracts": [
                    {"ticker": f"O:{option.symbol}", "strike": option.strike, "type": _type(option)}
                    for option in listed
                ]
            }
        sides = {
            side: [
                {"symbol": f"O:{option.symbol}", "strikePrice": option.strike}
                for option in listed
                if option.call is call
            ]
            for side, call in (("calls", True), ("puts", False))
        }
        return {"symbol": underlying, "expiryDate": expiration.isoformat(), **sides}


def _type(option: ListedOption) -> str:
    return "call" if option.call else "put"


def _offset(query: str) -> int:
    cursor = parse_qs(query).get("cursor", ["0"])[0]
    return int(cursor) if cursor.isdecimal() else 0


def _failure(fault: faults.ChainAnswer) -> Response:
    response = (
        _response(fault.status, _HTML, "text/html") if fault.html else _json({"message": fault.message}, fault.status)
    )
    if fault.retry_after is not None:
        response.headers["Retry-After"] = str(fault.retry_after)
    return response


def _spoiled(response: Response, fault: faults.ChainAnswer) -> Response:
    """Return a normal answer, or an HTML page or only half of the answer in its place."""
    body = bytes(response.body)
    if fault.html:
        return _response(200, _HTML, "text/html")
    if fault.half == "text":
        return _response(200, body[: len(body) // 2])
    if fault.half == "bytes":  # the connection ends before all that was announced is sent
        half = _response(200, body[: len(body) // 2])
        del half.headers["Content-Length"]
        half.headers["Content-Length"] = str(len(body))
        return half
    return response


def _json(document: dict[str, object], status: int) -> Response:
    return _response(status, msgspec.json.encode(document or {"message": "not found"}))


def _response(status: int, body: bytes, content_type: str = "application/json") -> Response:
    headers = Headers([("Connection", "close"), ("Content-Length", str(len(body))), ("Content-Type", content_type)])
    return Response(status, _REASONS.get(status, "Status"), headers, body)
