"""The simulator's OAuth2 token endpoint: the refresh-token grant, and failing responses on demand."""

from __future__ import annotations

import asyncio
import base64
import hmac
import itertools
from collections import deque
from typing import TYPE_CHECKING, Final, Self

import msgspec
from aiohttp import web

from bridge.simulator.accepted_tokens import AcceptedTokens
from bridge.simulator.change_notifier import ChangeNotifier
from bridge.simulator.feed_timestamps import Clock, wall_clock_ms
from bridge.tasks import wait_until_set

if TYPE_CHECKING:
    from types import TracebackType

_PATH: Final = "/v1/oauth2/token"
_SCOPE: Final = "market:information"
_REFRESH_EXPIRES_IN_SECONDS: Final = 2_592_000
_HTML: Final = "<html><body><h1>Bad gateway</h1></body></html>"


class PlannedResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The response to one request that overrides the normal one; without a ``status`` it only delays it."""

    status: int | None = None
    error: str | None = None
    html: bool = False
    retry_after: int | str | None = None
    delay_seconds: float = 0


class TokenEndpointServer:
    """A token endpoint that serves while the context is open and adds the tokens it issues to ``tokens``.

    With ``rotating`` a refresh token is valid for one request, and the response holds the next one; without it
    the refresh token stays the same. ``url`` takes the requests, ``request_count`` counts them, and ``issued``
    lists the access tokens.
    """

    def __init__(
        self,
        tokens: AcceptedTokens | None = None,
        *,
        rotating: bool = True,
        expires_in_seconds: int = 3600,
        clock: Clock = wall_clock_ms,
    ) -> None:
        self.tokens = tokens or AcceptedTokens()
        self.tokens.accept()  # from now on only issued tokens are valid
        self.client_id = "client"
        self.client_secret = "secret"  # noqa: S105 - protects nothing
        self.refresh_token = "refresh-0"  # noqa: S105 - protects nothing
        self.rotating = rotating
        self.expires_in_seconds = expires_in_seconds
        self.url = ""
        self.request_count = 0
        self.issued: list[str] = []
        self._clock = clock
        self._planned: deque[PlannedResponse] = deque()
        self._serials = itertools.count(1)
        self._changes = ChangeNotifier()
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post(_PATH, self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}{_PATH}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        assert self._runner is not None
        await self._runner.cleanup()

    def fail(self, status: int = 500, *, times: int = 1, error: str | None = None) -> None:
        """Answer the next requests with a status and an OAuth error (default: ``server_error``)."""
        self._plan(PlannedResponse(status=status, error=error), times)

    def throttle(self, retry_after: int | str, *, times: int = 1) -> None:
        """Answer the next requests with 429 and ``Retry-After``."""
        self._plan(PlannedResponse(status=429, retry_after=retry_after), times)

    def answer_html(self, status: int = 200, *, times: int = 1) -> None:
        """Answer the next requests with an HTML page, as a proxy in between does."""
        self._plan(PlannedResponse(status=status, html=True), times)

    def delay(self, seconds: float, *, times: int = 1) -> None:
        """Answer the next requests normally, but late."""
        self._plan(PlannedResponse(delay_seconds=seconds), times)

    def clear_responses(self) -> None:
        """Answer all requests normally from now on."""
        self._planned.clear()

    async def requested(self, count: int = 1, *, timeout_seconds: float = 10) -> None:
        """Wait for the n-th request since the start."""
        await self._changes.wait_for(
            lambda: self.request_count >= count, timeout_seconds=timeout_seconds, what=f"token request {count}"
        )

    def _plan(self, response: PlannedResponse, times: int) -> None:
        self._planned.extend([response] * times)

    async def _answer(self, request: web.Request) -> web.Response:
        self.request_count += 1
        self._changes.notify()
        planned = self._planned.popleft() if self._planned else PlannedResponse()
        if planned.delay_seconds:
            await self._delay(planned.delay_seconds)
        if planned.status is not None:
            return _planned_response(planned.status, planned)
        try:
            parameters = msgspec.json.decode(await request.read(), type=dict[str, str])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return _error(400, "invalid_request")
        return self._grant(parameters)

    async def _delay(self, seconds: float) -> None:
        await wait_until_set(self._stopping, seconds)

    def _grant(self, parameters: dict[str, str]) -> web.Response:
        if parameters.get("grant_type") != "refresh_token":
            return _error(400, "unsupported_grant_type")
        if (parameters.get("client_id"), parameters.get("client_secret")) != (self.client_id, self.client_secret):
            return _error(401, "invalid_client")
        if parameters.get("refresh_token") != self.refresh_token:
            return _error(400, "invalid_grant")
        return _json(self._issue(), 200)

    def _issue(self) -> dict[str, object]:
        serial = next(self._serials)
        expires_ms = self._clock() + self.expires_in_seconds * 1000
        token = _jwt({"jti": str(serial), "scope": _SCOPE, "exp": expires_ms // 1000})
        self.tokens.accept(token, until_ms=expires_ms)
        self.issued.append(token)
        if self.rotating:
            self.refresh_token = f"refresh-{serial}"
        return {
            "access_token": token,
            "refresh_token": self.refresh_token,
            "token_type": "Bearer",
            "expires_in": self.expires_in_seconds,
            "refresh_token_expires_in": _REFRESH_EXPIRES_IN_SECONDS,
            "scope": _SCOPE,
        }


def _planned_response(status: int, planned: PlannedResponse) -> web.Response:
    if planned.html:
        return web.Response(status=status, text=_HTML, content_type="text/html")
    response = _error(status, planned.error or "server_error")
    if planned.retry_after is not None:
        response.headers["Retry-After"] = str(planned.retry_after)
    return response


def _error(status: int, error: str) -> web.Response:
    """Return an error response (RFC 6749, section 5.2)."""
    return _json({"error": error, "error_description": error.replace("_", " ")}, status)


def _json(document: dict[str, object], status: int) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), status=status, content_type="application/json")


def _jwt(claims: dict[str, object]) -> str:
    """Return a token in the format of RFC 7519; its signature is never checked."""
    parts = [_base64url(msgspec.json.encode(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.digest(b"simulator", ".".join(parts).encode(), "sha256")
    return ".".join([*parts, _base64url(signature)])


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
