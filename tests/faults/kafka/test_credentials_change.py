"""Tokens that expire and passwords that change while the bridge publishes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined] # public all the same
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.faults.kafka.load import GIVEN_UP, NOT_USABLE, PATIENT, create_topics, under_load
from tests.kafka.test_security import unsecured_jwt
from tests.support.brokers import Listener
from tests.support.service import eventually
from tests.support.token_endpoint import token_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.brokers import RealKafka
    from tests.support.token_endpoint import FakeTokenEndpoint

TOKEN_SECONDS = 2
#: Long enough to start a bridge on a busy machine.
FILE_TOKEN_SECONDS = 8
EXPIRED_SECONDS = -60


@pytest.fixture
def prefix(kafka: RealKafka, topic_prefix: str) -> str:
    """Return a prefix whose topics exist."""
    create_topics(kafka, topic_prefix)
    return topic_prefix


def oauth(url: str) -> dict[str, str]:
    return {
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
        "KAFKA_OAUTH_TOKEN_URL": url,
        "KAFKA_OAUTH_CLIENT_ID": "md-client",
        "KAFKA_OAUTH_CLIENT_SECRET": "md-secret",
    }


async def test_connections_that_end_with_their_tokens(kafka: RealKafka, prefix: str) -> None:
    """The broker closes each connection when its token expires (KIP-368); the producer goes on with the next one."""
    async with token_endpoint() as endpoint:
        endpoint.expires_in = TOKEN_SECONDS
        endpoint.make = lambda _: unsecured_jwt(TOKEN_SECONDS)
        servers = kafka.addresses(Listener.SASL)
        async with under_load(kafka, prefix, {**PATIENT, **oauth(endpoint.url)}, servers=servers) as load:
            await eventually(lambda: endpoint.granted >= 5, "tokens that follow each other")
            await load.flows()

    report = await load.proof()
    assert load.bridge.publisher.state.rebuilds == 0
    assert sum(row.repeats for row in report.rows) == 0


def endpoint_down(endpoint: FakeTokenEndpoint) -> None:
    for _ in range(1_000):
        endpoint.will_answer(503)


def token_refused(endpoint: FakeTokenEndpoint) -> None:
    endpoint.make = lambda _: unsecured_jwt(EXPIRED_SECONDS)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [(endpoint_down, "is busy (HTTP 503)"), (token_refused, "how a rejected OAUTHBEARER token looks")],
)
async def test_records_wait_while_there_is_no_valid_token(
    kafka: RealKafka, prefix: str, trouble: Callable[[FakeTokenEndpoint], None], words: str
) -> None:
    """Records wait while the broker accepts no token; attempts log why, and continue until it does."""
    async with token_endpoint() as endpoint:
        endpoint.expires_in = TOKEN_SECONDS
        endpoint.make = lambda _: unsecured_jwt(TOKEN_SECONDS)
        servers = kafka.addresses(Listener.SASL)
        async with under_load(kafka, prefix, oauth(endpoint.url), servers=servers) as load:
            trouble(endpoint)
            await eventually(lambda: len(load.logged(NOT_USABLE)) >= 2, "attempts to reach Kafka")
            endpoint.answers.clear()
            endpoint.make = lambda _: unsecured_jwt()
            endpoint.expires_in = 300
            await load.flows()

    await load.proof()
    assert all(words in line["reason"] for line in load.logged(NOT_USABLE)[:2])


async def test_records_wait_for_a_token_file_that_is_not_renewed(kafka: RealKafka, prefix: str, tmp_path: Path) -> None:
    """When the broker ends the connection with its token, records wait until something has renewed the file."""
    file = tmp_path / "token"
    file.write_text(unsecured_jwt(FILE_TOKEN_SECONDS))
    file.chmod(0o600)
    login = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
        "KAFKA_OAUTH_TOKEN_FILE": str(file),
        "KAFKA_OAUTH_EXTENSIONS": "logicalCluster=lkc-1",
    }
    async with under_load(kafka, prefix, login, servers=kafka.addresses(Listener.SASL)) as load:
        await eventually(lambda: load.logged(NOT_USABLE), "the token has expired")
        file.write_text(unsecured_jwt())
        await load.flows()

    await load.proof()
    assert f"KAFKA_OAUTH_TOKEN_FILE ({file}) has a token that expired" in load.logged(NOT_USABLE)[0]["reason"]


async def test_a_password_that_changes_in_its_file(kafka: RealKafka, prefix: str, tmp_path: Path) -> None:
    """The old password is rejected from one moment on; once the file has the new one, records are published."""
    user, file = prefix, tmp_path / "password"
    file.write_text("old password")
    file.chmod(0o600)
    await asyncio.to_thread(set_password, kafka, user, "old password")
    login = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-256",
        "KAFKA_SASL_USERNAME": user,
        "KAFKA_SASL_PASSWORD_FILE": str(file),
        "KAFKA_DELIVERY_TIMEOUT_SECONDS": "3",  # a busy machine may take a second for a batch
    }
    async with under_load(kafka, prefix, login, servers=kafka.addresses(Listener.SASL)) as load:
        before = len(load.logged(NOT_USABLE))
        await asyncio.to_thread(set_password, kafka, user, "new password")
        await eventually(lambda: len(load.logged(NOT_USABLE)) > before, "the old password is refused")
        assert "SaslAuthenticationFailed" in load.logged(NOT_USABLE)[-1]["reason"]
        file.write_text("new password")
        await load.flows()

    await load.proof()
    assert len(load.logged(GIVEN_UP)) == 1


def set_password(kafka: RealKafka, user: str, password: str) -> None:
    """Set a password, and wait until the broker knows it: that it is changed is said before."""
    change = UserScramCredentialUpsertion(
        user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), password.encode()
    )
    admin = kafka.admin()
    for altered in admin.alter_user_scram_credentials([change]).values():
        altered.result(timeout=20)
    login = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": user,
        "sasl.password": password,
    }
    AdminClient({"bootstrap.servers": kafka.addresses(Listener.SASL), "log_level": 0, **login}).list_topics(timeout=20)
