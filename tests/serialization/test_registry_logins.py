"""The logins to a schema registry, from the environment to what a server receives."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives import serialization as pem

from bridge.errors import RegistryRefused, RegistryUnreachable, SchemaMismatch, SettingsError
from bridge.serialization.schema_registry import Registry
from bridge.serialization.schemas import load
from bridge.settings import load_only
from bridge.topics import Topic
from tests.support.fake_registry import FakeRegistry
from tests.support.token_endpoint import token_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

QUOTE = load()[Topic.QUOTES]
SUBJECT = "aries.quotes-value"
PASSWORD = {"USERNAME": "me", "PASSWORD": "pässword:with:colons"}
OAUTH = {"OAUTH_CLIENT_ID": "bridge", "OAUTH_CLIENT_SECRET": "client-s3cret", "OAUTH_SCOPE": "registry"}
CLOUD = {"LOGICAL_CLUSTER": "lsrc-abc123", "IDENTITY_POOL_ID": "pool-abc1"}


@asynccontextmanager
async def client(url: str, **settings: object) -> AsyncIterator[Registry]:
    """Open a client with settings of the registry, named without their prefix."""
    named = {f"SCHEMA_REGISTRY_{name}": str(value) for name, value in {"URL": url, **settings}.items()}
    loaded = load_only(named, "SCHEMA_REGISTRY_")
    assert loaded.schema_registry_url is not None
    async with Registry.of(loaded, loaded.schema_registry_url) as registry:
        yield registry


async def can_log_in(server: FakeRegistry, **settings: object) -> bool:
    """Return whether a look-up with these settings succeeds."""
    schema_id = server.add(SUBJECT, QUOTE.text)
    async with client(server.url, **settings) as registry:
        try:
            return await registry.lookup(SUBJECT, QUOTE) == schema_id
        except RegistryRefused:
            return False


async def refusal(server: FakeRegistry, **settings: object) -> str:
    """Return the message of a look-up that the server refuses."""
    async with client(server.url, **settings) as registry:
        with pytest.raises(RegistryRefused) as caught:
            await registry.lookup(SUBJECT, QUOTE)
    return f"{caught.value}{caught.value!r}{vars(caught.value)}{registry!r}"


async def test_no_login() -> None:
    """Without a login no credentials are sent, and none of Confluent Cloud's headers."""
    async with FakeRegistry().serving() as server:
        assert await can_log_in(server)
    (received,) = server.received
    assert not {"Authorization", "target-sr-cluster", "Confluent-Identity-Pool-Id"} & received.headers.keys()


async def test_user_and_password() -> None:
    """User and password are sent as HTTP Basic; an error names both settings, and has no password."""
    async with FakeRegistry(credentials=":".join(PASSWORD.values())).serving() as server:
        assert await can_log_in(server, **PASSWORD)
        message = await refusal(server, USERNAME="me", PASSWORD="hunter22")
    assert "SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD" in message
    assert server.url in message
    assert "hunter22" not in message


async def test_a_bearer_token() -> None:
    """The token is sent as it is; an error names its setting, and has no token."""
    async with FakeRegistry(bearer="t0ken.t0ken").serving() as server:
        assert await can_log_in(server, BEARER_TOKEN="t0ken.t0ken")
        message = await refusal(server, BEARER_TOKEN="an-old-t0ken")
    assert "SCHEMA_REGISTRY_BEARER_TOKEN" in message
    assert "an-old-t0ken" not in message


async def test_a_registry_that_wants_a_login() -> None:
    """The error names every way to log in."""
    async with FakeRegistry(bearer="t0ken").serving() as server:
        message = await refusal(server)
    for setting in ("USERNAME", "PASSWORD", "BEARER_TOKEN", "OAUTH_TOKEN_URL"):
        assert f"SCHEMA_REGISTRY_{setting}" in message


@pytest.mark.parametrize("setting", ["PASSWORD", "BEARER_TOKEN"])
async def test_a_secret_is_read_from_its_file_for_each_request(tmp_path: Path, setting: str) -> None:
    """A secret that was replaced in its file is used by the next request of an open client."""
    secret = tmp_path / "secret"
    secret.write_text("first\n")
    user = {"USERNAME": "me"} if setting == "PASSWORD" else {}
    async with FakeRegistry().serving() as server:
        schema_id = server.add(SUBJECT, QUOTE.text)
        async with client(server.url, **user, **{f"{setting}_FILE": secret}) as registry:
            for word in ("first", "second"):
                secret.write_text(f"{word}\n")
                server.bearer, server.credentials = (word, None) if not user else (None, f"me:{word}")
                assert await registry.lookup(SUBJECT, QUOTE) == schema_id


async def test_a_token_file_that_is_gone_is_a_retriable_error(tmp_path: Path) -> None:
    """An unreadable file and one without a token are named, and can be fixed while the bridge retries."""
    token = tmp_path / "token"
    token.write_text("t0ken")
    async with FakeRegistry(bearer="t0ken").serving() as server:
        async with client(server.url, BEARER_TOKEN_FILE=token) as registry:
            token.write_text("t0ken\nand more")
            with pytest.raises(RegistryUnreachable, match=r"SCHEMA_REGISTRY_BEARER_TOKEN_FILE \(.*\) is not a token"):
                await registry.lookup(SUBJECT, QUOTE)
            token.unlink()
            with pytest.raises(RegistryUnreachable, match="SCHEMA_REGISTRY_BEARER_TOKEN_FILE cannot be read"):
                await registry.lookup(SUBJECT, QUOTE)
    assert server.received == []


async def test_client_credentials() -> None:
    """A token is requested once, with scope and secret, and sent with each request together with the cloud's IDs."""
    async with token_endpoint() as idp, FakeRegistry(bearer="access-1").serving() as server:
        schema_id = server.add(SUBJECT, QUOTE.text)
        async with client(server.url, OAUTH_TOKEN_URL=idp.url, **OAUTH, **CLOUD) as registry:
            for _ in range(2):
                assert await registry.lookup(SUBJECT, QUOTE) == schema_id
    (granted,) = idp.received
    assert granted.parameters == {"grant_type": "client_credentials", "scope": "registry"}
    assert granted.authorization is not None
    for received in server.received:
        assert received.headers["target-sr-cluster"] == "lsrc-abc123"
        assert received.headers["Confluent-Identity-Pool-Id"] == "pool-abc1"


async def test_an_expired_token_is_renewed() -> None:
    """A client that was open for longer than the token's lifetime sends a new one."""
    async with token_endpoint() as idp, FakeRegistry(bearer="access-1").serving() as server:
        schema_id = server.add(SUBJECT, QUOTE.text)
        idp.expires_in = 1  # less than what is kept for a renewal in time
        async with client(server.url, OAUTH_TOKEN_URL=idp.url, **OAUTH) as registry:
            assert await registry.lookup(SUBJECT, QUOTE) == schema_id
            server.bearer = "access-2"
            assert await registry.lookup(SUBJECT, QUOTE) == schema_id


async def test_a_rejected_access_token() -> None:
    """The error names the client's settings and those of Confluent Cloud, and has no token."""
    async with token_endpoint() as idp, FakeRegistry(bearer="another").serving() as server:
        message = await refusal(server, OAUTH_TOKEN_URL=idp.url, **OAUTH)
    assert "SCHEMA_REGISTRY_OAUTH_CLIENT_ID" in message
    assert "SCHEMA_REGISTRY_IDENTITY_POOL_ID" in message
    assert "access-1" not in message


async def test_a_token_endpoint_that_refuses_the_client() -> None:
    """The error names the registry's settings, not Kafka's, and the registry gets no request."""
    async with token_endpoint() as idp, FakeRegistry().serving() as server:
        for _ in range(2):
            idp.will_answer(401, {"error": "invalid_client"})
        async with client(server.url, OAUTH_TOKEN_URL=idp.url, **OAUTH) as registry:
            with pytest.raises(RegistryUnreachable, match=r"invalid_client.*SCHEMA_REGISTRY_OAUTH_CLIENT_SECRET"):
                await registry.lookup(SUBJECT, QUOTE)
    assert server.received == []


async def test_a_token_endpoint_with_a_private_authority(authority: trustme.CA, files: dict[str, Path]) -> None:
    """The registry's authorities are trusted there, too; without them the error names the setting."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with token_endpoint(context) as idp, FakeRegistry(bearer="access-1").serving() as server:
        login = {"OAUTH_TOKEN_URL": idp.url, **OAUTH}
        async with client(f"{server.url},https://registry", CAFILE=files["authority"], **login) as registry:
            schema_id = server.add(SUBJECT, QUOTE.text)
            assert await registry.lookup(SUBJECT, QUOTE) == schema_id
        async with client(server.url, **login) as registry:
            with pytest.raises(RegistryUnreachable, match=r"certificate.*SCHEMA_REGISTRY_CAFILE"):
                await registry.lookup(SUBJECT, QUOTE)


async def test_a_forbidden_subject_is_not_asked_for_twice() -> None:
    """HTTP 403 is about the account's rights: the error says which it needs, and the token is not renewed."""
    async with token_endpoint() as idp, FakeRegistry(bearer="access-1").serving() as server:
        server.refuse(403)
        message = await refusal(server, OAUTH_TOKEN_URL=idp.url, **OAUTH)
    assert "HTTP 403" in message
    assert "allowed to read the subjects" in message
    assert len(server.received) == len(idp.received) == 1


@pytest.mark.parametrize("status", [422, 500])
async def test_a_registry_that_repeats_the_credentials(status: int) -> None:
    """The registry's message is shown without them."""
    async with FakeRegistry().serving() as server:
        message = f"cannot authenticate with t0ken-0f-the-bridge at {server.url}"
        server.answers.append(web.json_response({"error_code": 42201, "message": message}, status=status))
        async with client(server.url, BEARER_TOKEN="t0ken-0f-the-bridge") as registry:
            with pytest.raises(
                (RegistryUnreachable, SchemaMismatch), match=r"authenticate with \*\*\* at http"
            ) as caught:
                await registry.lookup(SUBJECT, QUOTE)
    assert "t0ken" not in str(caught.value)


# -- several servers --------------------------------------------------------------------------------------------------


async def test_the_server_that_answered_is_asked_first() -> None:
    """After a failure the other server is used, and the failed one is not waited for at each request."""
    async with FakeRegistry().serving() as broken, FakeRegistry(bearer="t0ken").serving() as server:
        schema_id = server.add(SUBJECT, QUOTE.text)
        broken.refuse(503)
        async with client(f"{broken.url}, {server.url}/", BEARER_TOKEN="t0ken") as registry:
            for _ in range(3):
                assert await registry.lookup(SUBJECT, QUOTE) == schema_id
            server.refuse(500)
            broken.bearer = "t0ken"
            broken.add(SUBJECT, QUOTE.text)
            await registry.lookup(SUBJECT, QUOTE)
    assert len(broken.received) == 2
    assert len(server.received) == 4


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_other_host_gets_the_credentials(status: int) -> None:
    """A redirect is not followed: the error names its target, and the target gets no request."""
    async with FakeRegistry().serving() as elsewhere, FakeRegistry().serving() as server:
        server.refuse(status, Location=f"{elsewhere.url}/subjects?token=s3cret")
        async with client(server.url, **PASSWORD) as registry:
            with pytest.raises(RegistryUnreachable, match=f"HTTP {status} redirects to {elsewhere.url}") as caught:
                await registry.lookup(SUBJECT, QUOTE)
    assert elsewhere.received == []
    assert "s3cret" not in str(caught.value)


# -- mutual TLS -------------------------------------------------------------------------------------------------------


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> dict[str, Path]:
    """Return PEM files: the authority, a client certificate, its key, and the key encrypted with `right`."""
    issued = authority.issue_cert("bridge@example.org")
    paths = {name: tmp_path / f"{name}.pem" for name in ("authority", "certificate", "key", "encrypted")}
    authority.cert_pem.write_to_path(paths["authority"])
    issued.cert_chain_pems[0].write_to_path(paths["certificate"])
    issued.private_key_pem.write_to_path(paths["key"])
    key = pem.load_pem_private_key(issued.private_key_pem.bytes(), None)
    encryption = pem.BestAvailableEncryption(b"right")
    paths["encrypted"].write_bytes(key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, encryption))
    return paths


def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """Return the context of a server that requires a client certificate of this authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize(("key", "password"), [("key", {}), ("encrypted", {"KEY_PASSWORD": "right"})])
async def test_a_client_certificate(
    authority: trustme.CA, files: dict[str, Path], key: str, password: dict[str, str]
) -> None:
    """The certificate is presented, with a plain key or an encrypted one, also beside another login."""
    certificate = {"CAFILE": files["authority"], "CERTFILE": files["certificate"], "KEYFILE": files[key], **password}
    async with FakeRegistry().serving(server_tls(authority)) as server:
        assert await can_log_in(server, **certificate)
        server.bearer = "t0ken"
        assert await can_log_in(server, **certificate, BEARER_TOKEN="t0ken")
    assert {received.client for received in server.received} == {"bridge@example.org"}


async def test_without_the_client_certificate(authority: trustme.CA, files: dict[str, Path]) -> None:
    """The error says that the server wants one, and which settings name it."""
    async with FakeRegistry().serving(server_tls(authority)) as server:
        async with client(server.url, CAFILE=files["authority"]) as registry:
            with pytest.raises(RegistryUnreachable, match=r"client certificate.*SCHEMA_REGISTRY_CERTFILE"):
                await registry.lookup(SUBJECT, QUOTE)


async def test_a_private_authority(authority: trustme.CA, files: dict[str, Path]) -> None:
    """TLS works with the authority's file; without it the error names the setting."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with FakeRegistry().serving(context) as server:
        assert await can_log_in(server, CAFILE=files["authority"])
        async with client(server.url) as registry:
            with pytest.raises(RegistryUnreachable, match="SCHEMA_REGISTRY_CAFILE"):
                await registry.lookup(SUBJECT, QUOTE)


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ({}, "is encrypted: set SCHEMA_REGISTRY_KEY_PASSWORD to its password."),
        ({"KEY_PASSWORD": "wr0ng"}, "SCHEMA_REGISTRY_KEY_PASSWORD is not the password of SCHEMA_REGISTRY_KEYFILE"),
        ({"KEY_PASSWORD": "w" * 5000}, "SCHEMA_REGISTRY_KEY_PASSWORD is not the password of SCHEMA_REGISTRY_KEYFILE"),
    ],
)
async def test_the_password_of_an_encrypted_key(files: dict[str, Path], password: dict[str, str], problem: str) -> None:
    """A missing and a wrong password are one sentence each, without the password and without a prompt."""
    certificate = {"CERTFILE": files["certificate"], "KEYFILE": files["encrypted"], **password}
    with pytest.raises(SettingsError) as caught:
        async with client("https://registry", **certificate):
            pass
    (found,) = caught.value.problems
    assert problem in found
    assert "wr0ng" not in found
