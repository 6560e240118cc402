from __future__ import annotations

import base64
import json
import ssl
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
import trustme
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from bridge.errors import BridgeError, SettingsError
from bridge.kafka.error_hints import error_hint
from bridge.kafka.security import KafkaSecuritySettings, security_options
from bridge.secrets.secret import Secret
from tests.settings.test_environment import problems
from tests.support.brokers import PASSWORD, USER, Listener, needs_users
from tests.support.consumer import wait_for
from tests.support.token_endpoint import FakeTokenEndpoint, token_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from bridge.settings import Settings
    from tests.support.brokers import RealKafka

CLIENT_SECRET = "the:client/secret"
OAUTH = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "OAUTHBEARER"}


@dataclass(frozen=True)
class Chosen:
    """The security settings of one test, unset by default."""

    kafka_security_protocol: str = "PLAINTEXT"
    kafka_sasl_mechanism: str | None = None
    kafka_sasl_username: str | None = None
    kafka_sasl_password: Secret | None = None
    kafka_ssl_cafile: Path | None = None
    kafka_ssl_certfile: Path | None = None
    kafka_ssl_keyfile: Path | None = None
    kafka_ssl_key_password: Secret | None = None
    kafka_ssl_check_hostname: bool = True
    kafka_oauth_token_url: str | None = None
    kafka_oauth_client_id: str | None = None
    kafka_oauth_client_secret: Secret | None = None
    kafka_oauth_client_assertion: Secret | None = None
    kafka_oauth_scope: str | None = None
    kafka_oauth_token: Secret | None = None
    kafka_oauth_extensions: tuple[str, ...] = ()
    aws_region: str | None = None


def settings_satisfy_the_protocol(settings: Settings) -> KafkaSecuritySettings:
    """Let mypy check that the bridge's settings have every required attribute."""
    return settings


def problem(settings: Chosen) -> str:
    with pytest.raises(SettingsError) as raised:
        security_options(settings)
    return str(raised.value)


class TestOptions:
    def test_plaintext_needs_nothing(self) -> None:
        """Without security nothing but the protocol is passed on."""
        assert security_options(Chosen()) == {"security_protocol": "PLAINTEXT"}

    def test_tls_trusts_the_system_by_default(self) -> None:
        """Without a CA file the system's authorities are trusted and host names checked."""
        context = security_options(Chosen("SSL"))["ssl_context"]

        assert isinstance(context, ssl.SSLContext)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname

    def test_host_names_need_not_be_checked(self) -> None:
        """Switched off, only the host name goes unchecked: the authority still has to be trusted."""
        context = security_options(Chosen("SSL", kafka_ssl_check_hostname=False))["ssl_context"]

        assert isinstance(context, ssl.SSLContext)
        assert not context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED

    def test_password_is_read_for_each_client(self, tmp_path: Path) -> None:
        """A rotated password file is used by the next client."""
        file = tmp_path / "password"
        settings = Chosen("SASL_PLAINTEXT", "PLAIN", USER, Secret.in_file("KAFKA_SASL_PASSWORD", file))
        file.write_text("first\n")
        first = security_options(settings)
        file.write_text("second\n")

        assert first["sasl_plain_password"] == "first"
        assert security_options(settings)["sasl_plain_password"] == "second"

    def test_unreadable_password_is_reported(self, tmp_path: Path) -> None:
        """A missing password file is named."""
        secret = Secret.in_file("KAFKA_SASL_PASSWORD", tmp_path / "gone")

        with pytest.raises(BridgeError, match=r"KAFKA_SASL_PASSWORD.*gone"):
            security_options(Chosen("SASL_PLAINTEXT", "PLAIN", USER, secret))

    @pytest.mark.parametrize(
        ("settings", "missing"),
        [
            (Chosen("SASL_PLAINTEXT"), "KAFKA_SASL_MECHANISM"),
            (Chosen("SASL_PLAINTEXT", "PLAIN"), "KAFKA_SASL_USERNAME"),
            (Chosen("SASL_SSL", "SCRAM-SHA-512", USER), "KAFKA_SASL_PASSWORD"),
            (Chosen("SASL_SSL", "OAUTHBEARER", kafka_oauth_token_url="https://idp"), "KAFKA_OAUTH_CLIENT_ID"),
            (Chosen("SASL_SSL", "OAUTHBEARER", kafka_oauth_client_id="bridge"), "KAFKA_OAUTH_TOKEN_URL"),
            (Chosen("SASL_SSL", "AWS_MSK_IAM"), "AWS_REGION"),
        ],
    )
    def test_incomplete_credentials_are_reported(self, settings: Chosen, missing: str) -> None:
        """The setting that a mechanism requires is named."""
        assert f"{missing} is not set" in problem(settings)


class TestCertificateFiles:
    def test_missing_file_is_named(self, tmp_path: Path) -> None:
        """A missing file is reported with its setting and path."""
        gone = tmp_path / "gone.pem"
        sentence = f": {gone} cannot be read (No such file or directory)"

        assert f"KAFKA_SSL_CAFILE{sentence}" in problem(Chosen("SSL", kafka_ssl_cafile=gone))
        assert f"KAFKA_SSL_CERTFILE{sentence}" in problem(Chosen("SSL", kafka_ssl_certfile=gone))

    def test_missing_key_is_named(self, tmp_path: Path) -> None:
        """A certificate without its key file is reported with the key's setting."""
        certificate = tmp_path / "client.pem"
        trustme.CA().issue_cert("client").cert_chain_pems[0].write_to_path(certificate)

        settings = Chosen("SSL", kafka_ssl_certfile=certificate, kafka_ssl_keyfile=tmp_path / "gone.key")

        assert "KAFKA_SSL_KEYFILE: " in problem(settings)

    @pytest.mark.parametrize("content", [b"", b"not PEM", b"\xff\x00", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
    def test_invalid_files_are_reported(self, tmp_path: Path, content: bytes) -> None:
        """A file without a certificate is reported, as CA and as client certificate."""
        junk = tmp_path / "junk.pem"
        junk.write_bytes(content)

        assert "KAFKA_SSL_CAFILE" in problem(Chosen("SSL", kafka_ssl_cafile=junk))
        assert "KAFKA_SSL_CERTFILE" in problem(Chosen("SSL", kafka_ssl_certfile=junk))

    def test_another_certificates_key_is_reported(self, tmp_path: Path) -> None:
        """A key that belongs to another certificate is reported."""
        certificate, key = tmp_path / "client.pem", tmp_path / "client.key"
        trustme.CA().issue_cert("client").cert_chain_pems[0].write_to_path(certificate)
        trustme.CA().issue_cert("other").private_key_pem.write_to_path(key)

        message = problem(Chosen("SSL", kafka_ssl_certfile=certificate, kafka_ssl_keyfile=key))

        assert "key values mismatch" in message

    def test_encrypted_key_is_reported(self, tmp_path: Path) -> None:
        """A key with a passphrase is rejected; nothing asks for it on the terminal."""
        issued = trustme.CA().issue_cert("client")
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        file = tmp_path / "client.pem"
        file.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
            + issued.cert_chain_pems[0].bytes()
        )

        assert "is encrypted" in problem(Chosen("SSL", kafka_ssl_certfile=file))

    def test_key_without_certificate_is_reported(self, tmp_path: Path) -> None:
        """A key without a certificate is an error."""
        assert "without KAFKA_SSL_CERTFILE" in problem(Chosen("SSL", kafka_ssl_keyfile=tmp_path / "key"))


@pytest.fixture
async def endpoint() -> AsyncIterator[FakeTokenEndpoint]:
    async with token_endpoint() as running:
        yield running


def user(protocol: str, mechanism: str, kafka: RealKafka, password: str = PASSWORD) -> Chosen:
    return Chosen(
        protocol,
        mechanism,
        USER,
        Secret.fixed("KAFKA_SASL_PASSWORD", password),
        kafka_ssl_cafile=kafka.certificates.authority_file,
    )


def mutual_tls(kafka: RealKafka) -> Chosen:
    """Return settings with certificate and key in one file."""
    files = kafka.certificates
    return Chosen("SSL", kafka_ssl_cafile=files.authority_file, kafka_ssl_certfile=files.client_file)


async def produce(addresses: str, settings: KafkaSecuritySettings, topic: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=addresses, acks="all", **security_options(settings))
    try:
        await producer.start()
        await producer.send_and_wait(topic, b"hello")
    finally:
        await producer.stop()


async def connection_error(
    addresses: str, settings: KafkaSecuritySettings, caplog: pytest.LogCaptureFixture
) -> tuple[str, str]:
    """Return why aiokafka could not connect, as it logs it, and the error hint."""
    with pytest.raises(KafkaConnectionError):
        await produce(addresses, settings, "none")
    reason = caplog.records[-1].getMessage()
    return reason, error_hint(reason)


class TestRealKafka:
    async def test_mutual_tls(self, kafka: RealKafka, topic_prefix: str) -> None:
        """A listener that requires a client certificate accepts it."""
        await self._arrives(kafka, Listener.MTLS, mutual_tls(kafka), topic_prefix)

    @pytest.mark.parametrize(
        "mechanism",
        ["PLAIN", *(pytest.param(name, marks=needs_users) for name in ("SCRAM-SHA-256", "SCRAM-SHA-512"))],
    )
    @pytest.mark.parametrize("listener", [Listener.SASL, Listener.SASL_TLS])
    async def test_password(self, kafka: RealKafka, topic_prefix: str, listener: Listener, mechanism: str) -> None:
        """User and password are accepted by every mechanism, with TLS and without."""
        await self._arrives(kafka, listener, user(listener, mechanism, kafka), topic_prefix)

    @pytest.mark.parametrize("listener", [Listener.SASL, Listener.SASL_TLS])
    async def test_oauth(
        self, kafka: RealKafka, topic_prefix: str, listener: Listener, endpoint: FakeTokenEndpoint
    ) -> None:
        """A token by client credentials is accepted, with TLS and without."""
        endpoint.will_answer(200, {"access_token": unsecured_jwt(), "expires_in": 300})

        await self._arrives(kafka, listener, oauth(listener, kafka, endpoint.url), topic_prefix)

    async def test_token_file_with_extensions(self, kafka: RealKafka, topic_prefix: str, tmp_path: Path) -> None:
        """A token from a file is accepted together with SASL extensions."""
        settings = token_file(kafka, tmp_path, "logicalCluster=lkc-1", "identityPoolId=pool a=b")

        await self._arrives(kafka, Listener.SASL_TLS, settings, topic_prefix)

    @pytest.mark.parametrize("extension", ["pool1=x", "auth=x", "pool=\u00e9"])
    async def test_extensions_that_settings_reject(
        self, kafka: RealKafka, caplog: pytest.LogCaptureFixture, tmp_path: Path, extension: str
    ) -> None:
        """Kafka rejects the extensions that are invalid settings: it reads them, and the rules are the same."""
        (problem,) = problems({**OAUTH, "KAFKA_OAUTH_TOKEN": "opaque", "KAFKA_OAUTH_EXTENSIONS": extension})
        assert "KAFKA_OAUTH_EXTENSIONS=" in problem

        settings = replace(token_file(kafka, tmp_path, extension), kafka_security_protocol="SASL_PLAINTEXT")
        _, hint = await connection_error(kafka.addresses(Listener.SASL), settings, caplog)

        assert "KAFKA_SASL_*" in hint

    async def test_encrypted_key(self, kafka: RealKafka, topic_prefix: str, tmp_path: Path) -> None:
        """Mutual TLS works with a private key that is encrypted."""
        pem = kafka.certificates.client_file.read_bytes()
        key = load_pem_private_key(pem, None)
        file = tmp_path / "encrypted.pem"
        file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter22")))
        password = Secret.fixed("KAFKA_SSL_KEY_PASSWORD", "hunter22")
        settings = replace(mutual_tls(kafka), kafka_ssl_keyfile=file, kafka_ssl_key_password=password)

        await self._arrives(kafka, Listener.MTLS, settings, topic_prefix)

    async def test_host_name_unchecked(self, kafka: RealKafka, topic_prefix: str) -> None:
        """With KAFKA_SSL_CHECK_HOSTNAME off, a certificate for another host name is accepted."""
        settings = replace(mutual_tls(kafka), kafka_ssl_check_hostname=False)
        addresses = kafka.addresses(Listener.MTLS).replace("localhost", "127.0.0.1")
        kafka.create_topic(topic_prefix)

        await produce(addresses, settings, topic_prefix)

    async def test_other_host_name(self, kafka: RealKafka, caplog: pytest.LogCaptureFixture) -> None:
        """A certificate for another host name is rejected, and the hint says so."""
        addresses = kafka.addresses(Listener.MTLS).replace("localhost", "127.0.0.1")

        _, hint = await connection_error(addresses, mutual_tls(kafka), caplog)

        assert "KAFKA_SSL_CHECK_HOSTNAME" in hint

    async def test_unknown_authority(self, kafka: RealKafka, caplog: pytest.LogCaptureFixture) -> None:
        """A broker whose certificate is signed by an unknown CA is rejected."""
        _, hint = await connection_error(kafka.addresses(Listener.MTLS), Chosen("SSL"), caplog)

        assert "KAFKA_SSL_CAFILE" in hint

    async def test_no_client_certificate(self, kafka: RealKafka, caplog: pytest.LogCaptureFixture) -> None:
        """If a client certificate is required but missing, the hint names its setting."""
        settings = replace(mutual_tls(kafka), kafka_ssl_certfile=None)

        _, hint = await connection_error(kafka.addresses(Listener.MTLS), settings, caplog)

        assert "KAFKA_SSL_CERTFILE" in hint

    @pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
    async def test_wrong_password(self, kafka: RealKafka, caplog: pytest.LogCaptureFixture, mechanism: str) -> None:
        """A wrong password is rejected, and not shown."""
        settings = user("SASL_PLAINTEXT", mechanism, kafka, password="wrong-password")

        reason, hint = await connection_error(kafka.addresses(Listener.SASL), settings, caplog)

        assert "KAFKA_SASL_*" in hint
        assert "wrong-password" not in reason

    @pytest.mark.parametrize(
        ("listener", "protocol"),
        [
            (Listener.MTLS, "PLAINTEXT"),
            (Listener.SASL, "PLAINTEXT"),
            (Listener.SASL_TLS, "SASL_PLAINTEXT"),
            (Listener.PLAINTEXT, "SASL_PLAINTEXT"),
            (Listener.PLAINTEXT, "SSL"),
            (Listener.SASL, "SASL_SSL"),
        ],
    )
    async def test_wrong_protocol(
        self, kafka: RealKafka, caplog: pytest.LogCaptureFixture, listener: Listener, protocol: str
    ) -> None:
        """Whatever protocol is used with the wrong port, the hint names the setting."""
        settings = user(protocol, "SCRAM-SHA-512", kafka)

        _, hint = await connection_error(kafka.addresses(listener), settings, caplog)

        assert "KAFKA_SECURITY_PROTOCOL" in hint

    async def test_no_token(
        self, kafka: RealKafka, caplog: pytest.LogCaptureFixture, endpoint: FakeTokenEndpoint
    ) -> None:
        """If the token endpoint fails, its error is the reason."""
        endpoint.will_answer(503)

        reason, hint = await connection_error(
            kafka.addresses(Listener.SASL), oauth("SASL_PLAINTEXT", kafka, endpoint.url), caplog
        )

        assert "is busy (HTTP 503)" in reason
        assert hint == ""

    async def test_rejected_token(
        self, kafka: RealKafka, caplog: pytest.LogCaptureFixture, endpoint: FakeTokenEndpoint
    ) -> None:
        """After a rejected token aiokafka starts without any broker; the hint names the settings."""
        producer = AIOKafkaProducer(
            bootstrap_servers=kafka.addresses(Listener.SASL),
            **security_options(oauth("SASL_PLAINTEXT", kafka, endpoint.url)),
        )

        await producer.start()
        known = producer.client.cluster.brokers()
        await producer.stop()

        assert known == set()
        assert "KAFKA_OAUTH_*" in error_hint(caplog.records[-1].getMessage())

    async def _arrives(self, kafka: RealKafka, listener: Listener, settings: KafkaSecuritySettings, topic: str) -> None:
        kafka.create_topic(topic)

        await produce(kafka.addresses(listener), settings, topic)

        assert [message.value for message in wait_for(kafka.bootstrap_servers, [topic], 1)] == [b"hello"]


def oauth(protocol: str, kafka: RealKafka, url: str) -> Chosen:
    return Chosen(
        protocol,
        "OAUTHBEARER",
        kafka_ssl_cafile=kafka.certificates.authority_file,
        kafka_oauth_token_url=url,
        kafka_oauth_client_id="bridge",
        kafka_oauth_client_secret=Secret.fixed("KAFKA_OAUTH_CLIENT_SECRET", CLIENT_SECRET),
    )


def token_file(kafka: RealKafka, directory: Path, *extensions: str) -> Chosen:
    file = directory / "token"
    file.write_text(unsecured_jwt())
    return Chosen(
        "SASL_SSL",
        "OAUTHBEARER",
        kafka_ssl_cafile=kafka.certificates.authority_file,
        kafka_oauth_token=Secret.in_file("KAFKA_OAUTH_TOKEN", file),
        kafka_oauth_extensions=extensions,
    )


def unsecured_jwt(lifetime_seconds: int = 300) -> str:
    """Return a token as accepted by brokers that have no keys to check one (RFC 7519 §6)."""
    now = int(time.time())
    parts = ({"alg": "none"}, {"sub": USER, "iat": now, "exp": now + lifetime_seconds})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return ".".join([*encoded, ""])
