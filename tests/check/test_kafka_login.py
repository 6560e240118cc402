"""A login is described by what identifies the bridge, and never by a secret."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from bridge.check.kafka_login import account, login
from bridge.secrets.secret import Secret
from bridge.settings import Settings
from tests.oauth.test_jwt import jwt

if TYPE_CHECKING:
    from pathlib import Path

BEARER = {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "OAUTHBEARER"}


@pytest.mark.parametrize(
    ("changed", "accepted", "named"),
    [
        ({}, "us without credentials (PLAINTEXT)", "User:ANONYMOUS"),
        (
            {**BEARER, "kafka_sasl_mechanism": "PLAIN", "kafka_sasl_username": "md"},
            "md (PLAIN, SASL_SSL)",
            "md (KAFKA_SASL_USERNAME)",
        ),
        ({**BEARER, "kafka_oauth_client_id": "md"}, "md (OAUTHBEARER, SASL_SSL)", "md (KAFKA_OAUTH_CLIENT_ID)"),
        (
            {**BEARER, "kafka_sasl_mechanism": "AWS_MSK_IAM", "aws_region": "eu-central-1"},
            "the AWS credentials, signed for eu-central-1 (AWS_MSK_IAM, SASL_SSL)",
            "kafka-cluster:WriteData",
        ),
    ],
)
def test_a_login_and_its_account(changed: dict[str, str], accepted: str, named: str) -> None:
    """The result of a check names the account, its hints the setting of the account."""
    settings = Settings(**changed)  # type: ignore[arg-type]  # validated by pydantic
    assert login(settings) == accepted
    assert named in account(settings)


def test_a_token_file(tmp_path: Path) -> None:
    """The file is named, and how long its token is valid, if that is known."""
    file = tmp_path / "token"
    secret = Secret.in_file("KAFKA_OAUTH_TOKEN", file)
    settings = Settings(**BEARER, kafka_oauth_token=secret)  # type: ignore[arg-type]  # validated by pydantic
    name = f"the token in KAFKA_OAUTH_TOKEN_FILE ({file})"
    assert login(settings) == f"{name} (OAUTHBEARER, SASL_SSL)"
    file.write_text("opaque")
    assert login(settings) == f"{name} (OAUTHBEARER, SASL_SSL)"
    file.write_text(jwt(exp=time.time() + 3 * 3600 + 60))
    assert login(settings) == f"{name}, which expires in 3 h (OAUTHBEARER, SASL_SSL)"
    assert account(settings) == f"the subject of the token in KAFKA_OAUTH_TOKEN_FILE ({file})"


def test_an_assertion_that_names_the_client(tmp_path: Path) -> None:
    """Without the ID of a client, the file of the assertion identifies it."""
    secret = Secret.in_file("KAFKA_OAUTH_CLIENT_ASSERTION", tmp_path / "assertion")
    settings = Settings(**BEARER, kafka_oauth_client_assertion=secret)  # type: ignore[arg-type]  # as above
    assert login(settings).startswith("the client of KAFKA_OAUTH_CLIENT_ASSERTION_FILE (")
    assert account(settings).startswith("the subject of the token in KAFKA_OAUTH_CLIENT_ASSERTION_FILE (")
