"""Tokens for Amazon MSK with IAM: AWS's own signer, offline, and one of ours in its place for what goes wrong."""

from __future__ import annotations

import base64
import signal
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from aiokafka.errors import KafkaConnectionError

from bridge.kafka.error_hints import error_hint
from bridge.kafka.msk_iam import SignedTokens
from bridge.kafka.sasl_oauth import TokenProvider
from bridge.kafka.security import security_options
from bridge.simulator.server import Simulator
from tests.kafka.test_security import Chosen
from tests.support import msk_signer
from tests.support.process import process
from tests.support.sasl_listener import SaslListener, sasl_listener
from tests.support.service import environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SETTINGS = Chosen("SASL_PLAINTEXT", "AWS_MSK_IAM", aws_region="eu-central-1")
MODULE = msk_signer.PACKAGE

with_signer = pytest.mark.skipif(find_spec(MODULE) is None, reason="THE EXTRA msk-iam IS NOT INSTALLED")


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave boto no credentials of this machine, and no server to ask for some."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
async def listener() -> AsyncIterator[SaslListener]:
    async with sasl_listener() as running:
        yield running


async def failure(tokens: SignedTokens) -> str:
    """Return the error of a token that cannot be signed, for which there must be no other hint."""
    with pytest.raises(KafkaConnectionError) as raised:
        await TokenProvider(tokens).token()
    message = str(raised.value)
    assert error_hint(message) == ""
    assert SECRET_KEY not in f"{message} {raised.value.__cause__!r} {raised.value.__cause__.__cause__!r}"
    return message


class Signer:
    """The module of the signer, written by a test."""

    def __init__(self, package: Path) -> None:
        self._directory = package

    def is_(self, body: str) -> None:
        """Define what the function does."""
        head = "import threading, time\ncalls = []\ndef generate_auth_token(region):\n    calls.append(region)\n    "
        (self._directory / "MSKAuthTokenProvider.py").write_text(f"{head}{body}\n")

    @property
    def calls(self) -> list[str]:
        """Return the regions for which it was called."""
        return list(sys.modules[f"{MODULE}.MSKAuthTokenProvider"].calls)


@pytest.fixture
def signer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Signer]:
    """Put our own signer in the place of AWS's."""

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == MODULE]:
            del sys.modules[name]

    forget()
    yield Signer(msk_signer.install(tmp_path, monkeypatch))
    forget()


class TestOtherSigner:
    async def test_a_signed_token_is_sent(self, signer: Signer, listener: SaslListener) -> None:
        """The mechanism is OAUTHBEARER, the token the signer's for the region; redaction learns it."""
        signer.is_("return f'signed-{region}', int(time.time() * 1000) + 900_000")
        learned: list[str] = []

        login = await listener.log_in(security_options(SETTINGS, learned.append))

        assert login.token == "signed-eu-central-1"
        assert login.extensions == {}
        assert learned == ["signed-eu-central-1"]

    async def test_a_token_is_used_for_most_of_its_lifetime(self, signer: Signer) -> None:
        """Logins share a token until a fifth of its lifetime is left."""
        signer.is_("return f'signed-{len(calls)}', (1_000_000 + 900 * len(calls)) * 1000")
        now = 1_000_000.0
        tokens = SignedTokens("eu-central-1", clock=lambda: now)

        first = [await tokens.access_token(), await tokens.access_token()]
        now += 721
        assert [*first, await tokens.access_token()] == ["signed-1", "signed-1", "signed-2"]

    async def test_the_event_loop_does_not_wait(self, signer: Signer) -> None:
        """Boto reads files and asks servers: that happens in a thread."""
        signer.is_("return str(threading.get_ident()), int(time.time() * 1000) + 900_000")

        assert await SignedTokens("eu-central-1").access_token() != str(threading.get_ident())

    async def test_a_server_that_does_not_answer(self, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
        """After the deadline the login fails, whatever boto waits for."""
        released = threading.Event()
        monkeypatch.setattr(threading, "released", released, raising=False)
        signer.is_("threading.released.wait(30); return 'late', 0")

        message = await failure(SignedTokens("eu-central-1", deadline_seconds=0.05))
        released.set()

        assert message.startswith("KafkaTokenError: AWS_MSK_IAM: no AWS credentials within 0.05 s. Check the AWS cred")

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            ("None.access_key", "boto found no AWS credentials"),
            (f"raise ValueError('{SECRET_KEY}')", "no token could be signed (ValueError)"),
            (
                (
                    "error = OSError(); error.operation_name = 'AssumeRoleWithWebIdentity'; "
                    f"error.response = {{'Error': {{'Code': 'AccessDenied', 'Message': '{SECRET_KEY}'}}}}; raise error"
                ),
                "AWS rejected AssumeRoleWithWebIdentity (AccessDenied)",
            ),
        ],
    )
    async def test_errors_are_one_sentence(self, signer: Signer, body: str, reason: str) -> None:
        """The error says what failed and what to check, without the text of boto's, which may have a secret."""
        signer.is_(body)

        assert await failure(SignedTokens("eu-central-1")) == (
            f"KafkaTokenError: AWS_MSK_IAM: {reason}. Check the AWS credentials of this process: an IAM role for the "
            "pod or the instance, or AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY. The bridge will retry."
        )

    async def test_it_is_retried(self, signer: Signer) -> None:
        """The next login after an error signs again."""
        signer.is_("return (None.access_key if len(calls) == 1 else 'signed'), int(time.time() * 1000) + 900_000")
        tokens = SignedTokens("eu-central-1")

        await failure(tokens)
        assert await tokens.access_token() == "signed"
        assert signer.calls == ["eu-central-1", "eu-central-1"]


@with_signer
class TestSignerOfAws:
    @pytest.fixture
    def credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Set credentials in the environment."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session")

    @pytest.mark.usefixtures("credentials")
    async def test_what_arrives_at_a_broker(self, listener: SaslListener) -> None:
        """The token is a presigned request to connect, of the region, with the credentials' public parts."""
        token = (await listener.log_in(security_options(SETTINGS))).token

        url = urlsplit(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
        query = {name: value for name, [value] in parse_qs(url.query).items()}
        assert (url.scheme, url.hostname, url.path) == ("https", "kafka.eu-central-1.amazonaws.com", "/")
        assert query["Action"] == "kafka-cluster:Connect"
        assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
        assert query["X-Amz-Credential"].startswith("AKIAIOSFODNN7EXAMPLE/")
        assert query["X-Amz-Credential"].endswith("/eu-central-1/kafka-cluster/aws4_request")
        assert query["X-Amz-Security-Token"] == "a-session"
        assert query["X-Amz-Expires"] == "900"
        assert len(query["X-Amz-Signature"]) == 64
        assert SECRET_KEY not in token

    @pytest.mark.usefixtures("credentials")
    async def test_its_lifetime_is_known(self) -> None:
        """The token is renewed after 80 % of a quarter of an hour."""
        now = time.time()
        tokens = SignedTokens("eu-central-1", clock=lambda: now)

        first = await tokens.access_token()
        now += 700
        assert await tokens.access_token() == first

    async def test_no_credentials(self) -> None:
        """Without credentials anywhere, the error says so."""
        assert "boto found no AWS credentials" in await failure(SignedTokens("eu-central-1"))

    async def test_incomplete_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Boto's own errors are named by their class."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")

        assert "PartialCredentialsError" in await failure(SignedTokens("eu-central-1"))

    async def test_a_credential_process_that_prints_a_secret(self, tmp_path: Path) -> None:
        """What such a program writes to standard error is not shown, although boto's error quotes it."""
        (tmp_path / "config").write_text(f"[default]\ncredential_process = sh -c 'echo {SECRET_KEY} >&2; exit 1'\n")

        assert "CredentialRetrievalError" in await failure(SignedTokens("eu-central-1"))

    async def test_no_log_shows_the_credentials_or_the_token(self, listener: SaslListener, topic_prefix: str) -> None:
        """What boto logs at DEBUG, which is all that it signs, is not shown, nor is a token that a broker repeats."""
        listener.rejection = "access denied to {token}"
        installed = find_spec(MODULE)
        assert installed is not None
        assert installed.origin is not None
        async with Simulator() as simulator:
            environ = {
                **environment(simulator, f"127.0.0.1:{listener.port}", topic_prefix, BRIDGE_LOG_LEVEL="DEBUG"),
                "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
                "KAFKA_SASL_MECHANISM": "AWS_MSK_IAM",
                "AWS_REGION": "eu-central-1",
                "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
                "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
                "AWS_SESSION_TOKEN": "the-session-of-the-role",
                "PYTHONPATH": str(Path(installed.origin).parents[1]),
            }
            async with process(environ, "run") as bridge:
                reason = (await bridge.logged("Kafka unavailable, retrying"))["reason"]
                assert "access denied to ***" in reason
                bridge.signal(signal.SIGTERM)
                assert await bridge.ended() == 0
            output = "".join(bridge.text)
        shown = (SECRET_KEY, "the-session-of-the-role", listener.logins[0].token[:40], "CanonicalRequest")
        assert [text for text in shown if text in output] == []
