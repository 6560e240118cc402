"""A Kafka listener on loopback that records each OAUTHBEARER login, and accepts or rejects it."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

from aiokafka.conn import create_conn
from aiokafka.errors import SaslAuthenticationFailed
from aiokafka.protocol.admin import (
    ApiVersionResponse_v0,
    SaslAuthenticateRequest_v1,
    SaslAuthenticateResponse_v1,
    SaslHandShakeResponse_v1,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

HANDSHAKE, API_VERSIONS, AUTHENTICATE = 17, 18, 36


@dataclass(frozen=True)
class Login:
    """An initial client response (RFC 7628 §3.1): the token, and the extensions."""

    token: str
    extensions: dict[str, str]


@dataclass
class SaslListener:
    """A listener; ``logins`` are in the order of their arrival.

    If there is a ``rejection``, that is the broker's message for each login, with the token in place of ``{token}``.
    """

    port: int = 0
    rejection: str | None = None
    logins: list[Login] = field(default_factory=list)

    async def log_in(self, options: Mapping[str, object]) -> Login:
        """Connect with the security options of a client, and return what arrived."""
        connection = await create_conn("127.0.0.1", self.port, **options)
        connection.close()
        return self.logins[-1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it ends."""
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                request = BytesIO(await reader.readexactly(size))
                api, _, correlation, client_length = struct.unpack(">hhih", request.read(10))
                request.read(max(client_length, 0))
                body = struct.pack(">i", correlation) + self._answer(api, request)
                writer.write(struct.pack(">i", len(body)) + body)
        except asyncio.IncompleteReadError:
            writer.close()

    def _answer(self, api: int, request: BytesIO) -> bytes:
        if api == API_VERSIONS:
            served = [(HANDSHAKE, 0, 1), (API_VERSIONS, 0, 0), (AUTHENTICATE, 1, 1)]
            return bytes(ApiVersionResponse_v0(0, served).encode())
        if api == HANDSHAKE:
            return bytes(SaslHandShakeResponse_v1(0, ["OAUTHBEARER"]).encode())
        [message] = SaslAuthenticateRequest_v1.SCHEMA.decode(request)
        login = _parsed(message.decode())
        self.logins.append(login)
        if self.rejection is None:
            return bytes(SaslAuthenticateResponse_v1(0, None, b"", 0).encode())
        problem = self.rejection.format(token=login.token)
        return bytes(SaslAuthenticateResponse_v1(SaslAuthenticationFailed.errno, problem, b"", 0).encode())


def _parsed(message: str) -> Login:
    """Return the parts of ``n,,^Aauth=Bearer TOKEN^Aname=value^A^A``."""
    header, auth, *pairs, last, end = message.split("\x01")
    assert (header, last, end) == ("n,,", "", "")
    name, _, token = auth.partition("=Bearer ")
    assert name == "auth"
    return Login(token, dict(pair.split("=", 1) for pair in pairs))


@asynccontextmanager
async def sasl_listener() -> AsyncIterator[SaslListener]:
    """Run a listener."""
    listener = SaslListener()
    async with await asyncio.start_server(listener.serve, "127.0.0.1", 0) as server:
        listener.port = server.sockets[0].getsockname()[1]
        yield listener
