"""The HTTP server: in the bridge's own event loop, up before anything else and down after it. Read-only."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from bridge.clock import wall_us
from bridge.errors import PortUnusable
from bridge.observability import log_events, page
from bridge.observability.health import liveness, readiness
from bridge.observability.metrics import BridgeCollector, exposition, registry
from bridge.observability.rate_history import History
from bridge.observability.status import checks, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from aiohttp.typedefs import Handler

    from bridge.observability.health import Check
    from bridge.observability.view import BridgeView
    from bridge.secrets.redaction import Redactor

log = structlog.get_logger(__name__)

#: How long open requests may take to end at the stop; they are all short.
SHUTDOWN_SECONDS: Final = 1.0
KEEPALIVE_SECONDS: Final = 30.0
#: Whoever opens more ends the oldest: who keeps probes and Prometheus away must not keep descriptors from the bridge.
MOST_CONNECTIONS: Final = 64
READ_METHODS: Final = frozenset({"GET", "HEAD"})
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Server": "aries-bridge",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class HttpServer:
    """Serve what a bridge shows of itself."""

    def __init__(self, bridge: BridgeView, redactor: Redactor, *, host: str, port: int) -> None:
        #: Where it can be reached from this machine, while it is served.
        self.url: str | None = None
        self.history = History(bridge.accounts)
        self._bridge = bridge
        self._host = host
        self._port = port
        self._redactor = redactor
        self._page = page.load()
        self._registry = registry(BridgeCollector(bridge, self.history, redactor.redact))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve while the block runs; raises PortUnusable."""
        runner = web.AppRunner(
            self._app(), access_log=None, keepalive_timeout=KEEPALIVE_SECONDS, shutdown_timeout=SHUTDOWN_SECONDS
        )
        await runner.setup()
        try:
            with closing(await self._open(runner)) as listening:
                self._tell_address(listening)
                self.history.start()
                yield
        finally:
            self.url = None
            self.history.stop()
            await runner.cleanup()

    async def _open(self, runner: web.AppRunner) -> asyncio.Server:
        assert runner.server is not None  # it is set up
        try:
            return await asyncio.get_running_loop().create_server(
                partial(_next_connection, runner.server), self._host, self._port
            )
        except OSError as error:
            raise PortUnusable(
                f"cannot listen on {self._host}, port {self._port}, to serve probes, metrics and status "
                f"({error.strerror or error}): set BRIDGE_HTTP_PORT to a free port (0 = any) or BRIDGE_HTTP_HOST to an "
                "address of this machine."
            ) from error

    def _tell_address(self, listening: asyncio.Server) -> None:
        address, port = listening.sockets[0].getsockname()[:2]
        self.url = _url(address, port)
        log.info(log_events.HTTP_LISTENING, address=address, port=port)

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[_errors_as_json])
        app.on_response_prepare.append(_with_headers)
        app.add_routes(
            [
                web.get("/", self._show_page),
                web.get("/livez", self._probed("alive", liveness)),
                web.get("/readyz", self._probed("ready", readiness)),
                web.get("/metrics", self._show_metrics),
                web.get("/status", self._show_status),
            ]
        )
        return app

    # -- what is shown ------------------------------------------------------------------------------------------

    def _probed(self, word: str, probe: Callable[[BridgeView, float], tuple[Check, ...]]) -> Handler:
        async def answer(_request: web.Request) -> web.Response:
            made = probe(self._bridge, _now())
            good = all(check.ok for check in made)
            document = {word: good, "checks": checks(made)}
            return web.json_response(self._redactor.redact_document(document), status=200 if good else 503)

        return answer

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        body, content_type = exposition(self._registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _show_status(self, _request: web.Request) -> web.Response:
        document = status(self._bridge, self.history, _now(), wall_us())
        return web.json_response(self._redactor.redact_document(document))

    async def _show_page(self, _request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": self._page.policy}
        return web.Response(text=self._page.text, content_type="text/html", headers=headers)


def _next_connection(server: web.Server) -> asyncio.BaseProtocol:
    connections = server.connections
    for oldest in connections[: max(0, len(connections) - MOST_CONNECTIONS + 1)]:
        if oldest.transport is not None:
            oldest.transport.abort()
    return server()


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if request.method not in READ_METHODS:
        return _refusal(405, "only GET and HEAD: there is nothing to change here", {"Allow": "GET, HEAD"})
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return _refusal(404, "unknown path: there are /, /livez, /readyz, /metrics and /status", {})


def _refusal(code: int, error: str, headers: Mapping[str, str]) -> web.Response:
    return web.json_response({"error": error}, status=code, headers=headers)


async def _with_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        if name == "Server":
            response.headers[name] = value
        else:
            response.headers.setdefault(name, value)


def _url(address: str, port: int) -> str:
    """Return the address as this machine's own browser would be given it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(address, f"[{address}]" if ":" in address else address)  # noqa: S104 - the way it was opened
    return f"http://{host}:{port}/"


def _now() -> float:
    return asyncio.get_running_loop().time()
