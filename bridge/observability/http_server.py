"""The HTTP server for probes, metrics, status and the status page: read-only, in the bridge's own event loop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from bridge import log_events
from bridge.clock import wall_us
from bridge.errors import PortUnusable
from bridge.network.listening import ALL_ADDRESSES, listen_on_all_addresses
from bridge.observability import page
from bridge.observability.connection_limit import ConnectionLimit
from bridge.observability.health import liveness, readiness
from bridge.observability.host_check import HINT, HostCheck
from bridge.observability.metrics import BridgeCollector, exposition, registry
from bridge.observability.rate_history import RateHistory
from bridge.observability.status import check_results, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from aiohttp.typedefs import Handler

    from bridge.observability.health import Check
    from bridge.observability.view import BridgeView
    from bridge.secrets.redaction import Redactor

log = structlog.get_logger(__name__)

#: How long open requests may take to finish when the server stops.
SHUTDOWN_SECONDS: Final = 1.0
KEEPALIVE_SECONDS: Final = 30.0
#: What people look at with browsers: not served under host names of others.
BROWSED_PATHS: Final = frozenset({"/", "/status"})
READ_METHODS: Final = frozenset({"GET", "HEAD"})
_RESPONSE_HEADERS: Final = {
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
    """An HTTP server that shows a bridge."""

    def __init__(self, bridge: BridgeView, redactor: Redactor, *, host: str, port: int) -> None:
        #: The address for clients on this machine, while the server runs.
        self.url: str | None = None
        self._history = RateHistory(bridge.accounts)
        self._bridge = bridge
        self._host = host
        self._port = port
        self._redactor = redactor
        self._limit: ConnectionLimit | None = None
        self._host_check = HostCheck(host)
        self._page = page.load()
        self._registry = registry(BridgeCollector(bridge, self._history, redactor.redact))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve until the block ends; raise ``PortUnusable`` if the address cannot be listened on."""
        runner = web.AppRunner(
            self._app(), access_log=None, keepalive_timeout=KEEPALIVE_SECONDS, shutdown_timeout=SHUTDOWN_SECONDS
        )
        await runner.setup()
        try:
            with closing(await self._listen(runner)) as server:
                self._announce(server)
                self._history.start()
                yield
        finally:
            self.url = None
            self._history.stop()
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> asyncio.Server:
        assert runner.server is not None  # since `setup`
        try:
            self._limit = ConnectionLimit(runner.server)
            loop = asyncio.get_running_loop()
            if self._host == ALL_ADDRESSES:
                return await loop.create_server(self._limit.accept, sock=listen_on_all_addresses(self._port))
            return await loop.create_server(self._limit.accept, self._host, self._port)
        except OSError as error:
            raise PortUnusable(
                f"cannot listen on {self._host}, port {self._port}, to serve probes, metrics and status "
                f"({error.strerror or error}): set BRIDGE_HTTP_PORT to a free port (0 = any) or BRIDGE_HTTP_HOST to an "
                "address of this machine."
            ) from error

    def _announce(self, server: asyncio.Server) -> None:
        address, port = server.sockets[0].getsockname()[:2]
        self.url = _url(address, port)
        log.info(log_events.HTTP_LISTENING, address=address, port=port)

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._count_requests, _errors_as_json, self._check_host])
        app.on_response_prepare.append(_add_headers)
        app.add_routes(
            [
                web.get("/", self._get_page),
                web.get("/livez", self._probe("alive", liveness)),
                web.get("/readyz", self._probe("ready", readiness)),
                web.get("/metrics", self._get_metrics),
                web.get("/status", self._get_status),
            ]
        )
        return app

    @web.middleware
    async def _count_requests(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        assert self._limit is not None  # since it listens
        with self._limit.request(request.protocol):
            return await handler(request)

    @web.middleware
    async def _check_host(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in BROWSED_PATHS and not self._host_check.permits(request.headers):
            return _error(403, HINT, {})
        return await handler(request)

    def _probe(self, key: str, probe: Callable[[BridgeView, float], tuple[Check, ...]]) -> Handler:
        async def handle(_request: web.Request) -> web.Response:
            checks = probe(self._bridge, _now())
            ok = all(check.ok for check in checks)
            document = {key: ok, "checks": check_results(checks)}
            return web.json_response(self._redactor.redact_document(document), status=200 if ok else 503)

        return handle

    async def _get_metrics(self, _request: web.Request) -> web.Response:
        body, content_type = exposition(self._registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _get_status(self, _request: web.Request) -> web.Response:
        document = status(self._bridge, self._history, _now(), wall_us())
        return web.json_response(self._redactor.redact_document(document))

    async def _get_page(self, _request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": self._page.policy}
        return web.Response(text=self._page.text, content_type="text/html", headers=headers)


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if request.method not in READ_METHODS:
        return _error(405, "method not allowed: only GET and HEAD", {"Allow": "GET, HEAD"})
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return _error(404, "not found: the paths are /, /livez, /readyz, /metrics and /status", {})


def _error(status_code: int, error: str, headers: Mapping[str, str]) -> web.Response:
    return web.json_response({"error": error}, status=status_code, headers=headers)


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _RESPONSE_HEADERS.items():
        if name == "Server":
            response.headers[name] = value
        else:
            response.headers.setdefault(name, value)


def _url(address: str, port: int) -> str:
    """Return the URL for a browser on this machine."""
    if address in ("0.0.0.0", ALL_ADDRESSES):  # noqa: S104 - compared, not bound
        return f"http://127.0.0.1:{port}/"
    return f"http://{f'[{address}]' if ':' in address else address}:{port}/"


def _now() -> float:
    return asyncio.get_running_loop().time()
