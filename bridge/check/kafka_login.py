"""How the bridge logs in to Kafka, in words."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from bridge.check.report import duration_text
from bridge.errors import SecretUnreadable
from bridge.oauth.jwt import expires_at

if TYPE_CHECKING:
    from bridge.secrets.secret import Secret
    from bridge.settings import Settings


def login(settings: Settings) -> str:
    """Return what the brokers accepted, and how it was sent."""
    protocol, mechanism = settings.kafka_security_protocol, settings.kafka_sasl_mechanism
    if mechanism is not None:
        return f"{_identity(settings)} ({mechanism}, {protocol})"
    return f"{'the certificate' if settings.kafka_ssl_certfile else 'us without credentials'} ({protocol})"


def account(settings: Settings, iam_actions: str = "kafka-cluster:WriteData and kafka-cluster:DescribeTopic") -> str:
    """Return the account that the bridge uses, and the setting that names it; for IAM, what its policy needs."""
    if settings.kafka_sasl_mechanism == "AWS_MSK_IAM":
        return f"the IAM role of the bridge ({iam_actions} in its policy)"
    if settings.kafka_sasl_username is not None:
        return f"{settings.kafka_sasl_username} (KAFKA_SASL_USERNAME)"
    if settings.kafka_oauth_client_id is not None:
        return f"{settings.kafka_oauth_client_id} (KAFKA_OAUTH_CLIENT_ID)"
    if token := settings.kafka_oauth_token or settings.kafka_oauth_client_assertion:
        return f"the subject of the token in {_source(token)}"
    if settings.kafka_ssl_certfile is not None:
        return "the subject of the certificate in KAFKA_SSL_CERTFILE"
    return "User:ANONYMOUS (KAFKA_SECURITY_PROTOCOL has no authentication)"


def _identity(settings: Settings) -> str:
    if settings.kafka_sasl_mechanism == "AWS_MSK_IAM":
        return f"the AWS credentials, signed for {settings.aws_region}"
    if token := settings.kafka_oauth_token:
        return f"the token in {_source(token)}{_expiry(token)}"
    if name := settings.kafka_sasl_username or settings.kafka_oauth_client_id:
        return name
    assertion = settings.kafka_oauth_client_assertion
    return f"the client of {_source(assertion)}" if assertion else "a public client"


def _source(token: Secret) -> str:
    return f"{token.name}_FILE ({token.path})" if token.path else token.name


def _expiry(token: Secret) -> str:
    with suppress(SecretUnreadable):  # replaced at this moment; it was accepted just now
        expiry = expires_at(token.reveal())
        if expiry is not None:
            return f", which expires in {duration_text(expiry - time.time())}"
    return ""
