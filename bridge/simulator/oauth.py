"""A stand-in for Aries' token endpoint: the refresh-token grant, and what can go wrong with it."""

from __future__ import annotations

import asyncio
import base64
import hmac
import itertools
from collections import deque
from typing import TYPE_CHECKING, Final, Self

import msgspec
from aiohttp import web

from bridge.simulator.changes import Changes
from bridge.simulator.clocks import Clock, wall_clock_ms
from bridge.simulator.tokens import Tokens

if TYPE_CHECKING:
    import ssl as tls
    from types import TracebackType

PATH: Final = "/v1/oauth2/token"
_SCOPE: Final = "market:information"
_REFRESH_EXPIRES_IN_SECONDS: Final = 2_592_000
_HTML: Final = "<html><body><h1>Bad gateway</h1></body></html>"


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Say how one request is answered instead; without a ``status`` as always, but late."""

    status: int | None = None
    error: str | None = None
    html: bool = False
    retry_after: int | str | None = None
    by_seconds: float = 0


class TokenEndpoint:
    """Serve the token endpoint while the context is open; what it issues, ``tokens`` takes.

    With ``rotating`` each refresh token serves once and the answer brings the next; without, it stays the same.
    ``asked`` counts the requests, ``issued`` lists the access tokens.
    """

    def __init__(
        self,
        tokens: Tokens | None = None,
        *,
        client_id: str = "client",
        client_secret: str = "secret",  # noqa: S107 - nobody's secret
        refresh_token: str = "refresh-0",  # noqa: S107 - nobody's secret
        rotating: bool = True,
        expires_in_seconds: int = 3600,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock = wall_clock_ms,
        ssl: tls.SSLContext | None = None,
    ) -> None:
        self.tokens = tokens or Tokens()
        self.tokens.accept()  # from now on only what is issued is good
        self.client_id = client_id
        self.client_secret = client_secret
        self.refresh_token = refresh_token
        self.rotating = rotating
        self.expires_in_seconds = expires_in_seconds
        self.asked = 0
        self.issued: list[str] = []
        self._host = host
        self._port = port
        self._clock = clock
        self._ssl = ssl
        self._troubles: deque[Trouble] = deque()
        self._serials = itertools.count(1)
        self._changes = Changes()
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post(PATH, self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, ssl_context=self._ssl)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Return where to post."""
        return f"{'https' if self._ssl else 'http'}://{self._host}:{self._port}{PATH}"

    def fail(self, status: int = 500, *, times: int = 1, error: str | None = None) -> None:
        """Answer the next requests with a status, and an OAuth error if one is given."""
        self._expect(Trouble(status=status, error=error), times)

    def refuse_grant(self, *, times: int = 1) -> None:
        """Answer the next requests with 400 ``invalid_grant``."""
        self._expect(Trouble(status=400, error="invalid_grant"), times)

    def throttle(self, retry_after: int | str, *, times: int = 1) -> None:
        """Answer the next requests with 429 and ``Retry-After``."""
        self._expect(Trouble(status=429, retry_after=retry_after), times)

    def answer_html(self, status: int = 200, *, times: int = 1) -> None:
        """Answer the next requests with a page, as a proxy in between does."""
        self._expect(Trouble(status=status, html=True), times)

    def be_slow(self, by_seconds: float, *, times: int = 1) -> None:
        """Answer the next requests well, but late."""
        self._expect(Trouble(by_seconds=by_seconds), times)

    async def was_asked(self, count: int = 1, *, timeout_seconds: float = 10) -> None:
        """Wait for the n-th request since the start."""
        await self._changes.until(
            lambda: self.asked >= count, timeout_seconds=timeout_seconds, what=f"token request {count}"
        )

    def _expect(self, trouble: Trouble, times: int) -> None:
        self._troubles.extend([trouble] * times)

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        self._changes.happened()
        trouble = self._troubles.popleft() if self._troubles else Trouble()
        if trouble.by_seconds:
            await self._late(trouble.by_seconds)
        if trouble.status is not None:
            return _trouble_answer(trouble.status, trouble)
        try:
            asked = msgspec.json.decode(await request.read(), type=dict[str, str])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return _refusal(400, "invalid_request")
        return self._grant(asked)

    async def _late(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def _grant(self, asked: dict[str, str]) -> web.Response:
        if asked.get("grant_type") != "refresh_token":
            return _refusal(400, "unsupported_grant_type")
        if (asked.get("client_id"), asked.get("client_secret")) != (self.client_id, self.client_secret):
            return _refusal(401, "invalid_client")
        if asked.get("refresh_token") != self.refresh_token:
            return _refusal(400, "invalid_grant")
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


def _trouble_answer(status: int, trouble: Trouble) -> web.Response:
    if trouble.html:
        return web.Response(status=status, text=_HTML, content_type="text/html")
    answer = _refusal(status, trouble.error or "server_error")
    if trouble.retry_after is not None:
        answer.headers["Retry-After"] = str(trouble.retry_after)
    return answer


def _refusal(status: int, error: str) -> web.Response:
    """Refuse as RFC 6749, section 5.2, has it."""
    return _json({"error": error, "error_description": f"{error.replace('_', ' ')}"}, status)


def _json(document: dict[str, object], status: int) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), status=status, content_type="application/json")


def _jwt(claims: dict[str, object]) -> str:
    """Return a token of the right shape (RFC 7519); nobody checks its signature."""
    parts = [_base64url(msgspec.json.encode(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.digest(b"simulator", ".".join(parts).encode(), "sha256")
    return ".".join([*parts, _base64url(signature)])


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
