"""Warnings about what is valid, but probably not intended."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
import trustme

from bridge.settings import examine
from bridge.settings.warnings import names, warnings
from tests.settings.test_environment import REQUIRED

if TYPE_CHECKING:
    from collections.abc import Iterator


def warnings_of(environ: dict[str, str]) -> list[str]:
    """Return the warnings about an environment."""
    return warnings(examine(environ)[0], environ)


def warned(extra: dict[str, str]) -> list[str]:
    """Return the warnings about a valid environment with these changes."""
    return warnings_of({**REQUIRED, **extra})


def test_a_valid_environment_has_no_warnings() -> None:
    """Known names, other programs' names and an empty environment cause no warning."""
    assert warned({"PATH": "/bin", "HOME": "/", "MY_ARIES_X": "1"}) == []
    assert warnings_of({}) == []


def test_every_setting_is_known() -> None:
    """No setting, and no secret's file, is reported as unknown."""
    assert not [warning for warning in warnings_of(dict.fromkeys(names(), "")) if "is not a setting" in warning]


@pytest.mark.parametrize(
    ("name", "intended"),
    [
        ("ARIES_SYMBOL", "ARIES_SYMBOLS"),
        ("ARIES_ACESS_TOKEN", "ARIES_ACCESS_TOKEN"),
        ("ARIES_ACCESS_TOKENFILE", "ARIES_ACCESS_TOKEN_FILE"),
        ("KAFKA_BOOTSTRAP_SERVER", "KAFKA_BOOTSTRAP_SERVERS"),
        ("KAFKA_TOPIC_QUOTE", "KAFKA_TOPIC_QUOTES"),
        ("SCHEMA_REGISTRY_URI", "SCHEMA_REGISTRY_URL"),
        ("BRIDGE_LOGLEVEL", "BRIDGE_LOG_LEVEL"),
    ],
)
def test_a_misspelt_setting_is_reported_with_the_nearest_name(name: str, intended: str) -> None:
    """The warning names the misspelt and the nearest setting, without the value."""
    (warning,) = warned({name: "hunter22"})
    assert warning.startswith(f"{name} is not a setting")
    assert f"did you mean {intended}?" in warning
    assert "hunter22" not in warning


def test_an_unknown_setting_without_similar_name_has_no_suggestion() -> None:
    """If no setting has a similar name, none is suggested."""
    (warning,) = warned({"KAFKA_XYZZY": "1"})
    assert "KAFKA_XYZZY" in warning
    assert "did you mean" not in warning


def test_variables_injected_by_kubernetes_cause_no_warning() -> None:
    """Kubernetes sets variables for Services that are called kafka or aries-bridge."""
    services: dict[str, str] = {}
    for service in ("KAFKA", "KAFKA_BOOTSTRAP", "ARIES_BRIDGE", "SCHEMA_REGISTRY"):
        services |= {
            f"{service}_SERVICE_HOST": "10.0.0.1",
            f"{service}_SERVICE_PORT": "9092",
            f"{service}_SERVICE_PORT_CLIENT_TLS": "9093",
            f"{service}_PORT": "tcp://10.0.0.1:9092",
            f"{service}_PORT_9092_TCP": "tcp://10.0.0.1:9092",
            f"{service}_PORT_9092_TCP_PROTO": "tcp",
            f"{service}_PORT_9092_TCP_PORT": "9092",
            f"{service}_PORT_9092_TCP_ADDR": "10.0.0.1",
        }
    assert warned(services) == []
    assert len(warned({"KAFKA_PORT": "9092"})) == 1


SASL = {"KAFKA_SASL_USERNAME": "me", "KAFKA_SASL_PASSWORD": "s3cret", "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}
REGISTRY = {"SCHEMA_REGISTRY_USERNAME": "me", "SCHEMA_REGISTRY_PASSWORD": "s3cret"}


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"ARIES_WS_URL": "ws://feed/x"}, "ARIES_WS_URL is ws://"),
        ({"ARIES_TOKEN_URL": "http://idp/x", "ARIES_REFRESH_TOKEN": "x"}, "ARIES_TOKEN_URL is http://"),
        ({**REGISTRY, "SCHEMA_REGISTRY_URL": "http://registry"}, "SCHEMA_REGISTRY_URL is http://"),
        ({**REGISTRY, "SCHEMA_REGISTRY_URL": "https://a,http://b,http://[::1]"}, "SCHEMA_REGISTRY_URL is http://"),
        ({"SCHEMA_REGISTRY_BEARER_TOKEN": "x", "SCHEMA_REGISTRY_URL": "http://b"}, "SCHEMA_REGISTRY_URL is http://"),
        ({"SCHEMA_REGISTRY_OAUTH_TOKEN_URL": "http://idp"}, "SCHEMA_REGISTRY_OAUTH_TOKEN_URL is http://"),
        ({"KAFKA_OAUTH_TOKEN_URL": "http://idp"}, "KAFKA_OAUTH_TOKEN_URL is http://"),
        ({**SASL, "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_BOOTSTRAP_SERVERS": "kafka:1"}, "use SASL_SSL"),
        ({**SASL, "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_BOOTSTRAP_SERVERS": "kafka"}, "use SASL_SSL"),
    ],
)
def test_unencrypted_credentials_cause_a_warning(extra: dict[str, str], message: str) -> None:
    """Each setting that sends a secret over the network without TLS is reported."""
    (warning,) = warned(extra)
    assert message in warning
    assert "in the clear" in warning


@pytest.mark.parametrize(
    "extra",
    [
        {"ARIES_WS_URL": "ws://127.0.0.1:8080/x"},
        {"ARIES_WS_URL": "ws://[::1]:8080/x"},
        {"ARIES_TOKEN_URL": "http://idp/x"},
        {"SCHEMA_REGISTRY_URL": "http://registry"},
        {**REGISTRY, "SCHEMA_REGISTRY_URL": "http://localhost,http://127.0.0.1,https://registry"},
        {**SASL, "KAFKA_SASL_MECHANISM": "PLAIN"},
        {**SASL, "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_BOOTSTRAP_SERVERS": "[::1]:9092,localhost"},
        {**SASL, "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "KAFKA_BOOTSTRAP_SERVERS": "kafka:1"},
    ],
)
def test_loopback_and_urls_without_secrets_cause_no_warning(extra: dict[str, str]) -> None:
    """Loopback, unused URLs, a registry without login and SCRAM are not reported."""
    assert warned(extra) == []


def test_no_setting_disables_certificate_verification() -> None:
    """A private authority must be named; only the check of a broker's host name can be disabled."""
    words = ("VERIFY", "INSECURE", "TRUST", "CHECK", "VALIDATE", "SKIP")
    assert [name for name in names() if any(word in name for word in words)] == ["KAFKA_SSL_CHECK_HOSTNAME"]


@pytest.fixture
def token_file() -> Iterator[Path]:
    """Return a file in a directory that every user may enter, like the directory of a mounted secret."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        path = Path(directory) / "token"
        path.write_text("s3cret")
        yield path


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (0o400, None),
        (0o600, None),
        (0o440, None),  # as Kubernetes mounts secrets for processes that are not root
        (0o444, "every user may read"),
        (0o644, "every user may read"),
        (0o460, "its group may write"),
        (0o666, "every user may write"),
    ],
)
def test_loose_permissions_of_a_secrets_file_cause_a_warning(token_file: Path, mode: int, message: str | None) -> None:
    """Only the worst permission is reported: to write, for all users or the group, else to read for all users."""
    token_file.chmod(mode)
    found = warned({"ARIES_ACCESS_TOKEN": "", "ARIES_ACCESS_TOKEN_FILE": str(token_file)})
    if message is None:
        assert found == []
    else:
        [warning] = found
        assert warning.startswith(f"ARIES_ACCESS_TOKEN_FILE: {message}")
        assert "chmod" in warning
        assert "s3cret" not in warning


def test_a_file_in_a_private_directory_causes_no_warning(token_file: Path) -> None:
    """A file can only be read through its directories, for a symbolic link through those of its target."""
    environ = {"ARIES_ACCESS_TOKEN": "", "ARIES_ACCESS_TOKEN_FILE": str(token_file)}
    token_file.parent.chmod(0o700)
    assert warned(environ) == []
    with TemporaryDirectory() as elsewhere:
        Path(elsewhere).chmod(0o755)
        target = token_file.rename(Path(elsewhere) / "token")
        target.chmod(0o644)
        token_file.symlink_to(target)
        assert len(warned(environ)) == 1


def test_loose_permissions_of_a_private_key_cause_a_warning(token_file: Path, tmp_path: Path) -> None:
    """The key of the client certificate is a secret, too."""
    identity = trustme.CA().issue_cert("bridge")
    certificate = tmp_path / "certificate.pem"
    identity.cert_chain_pems[0].write_to_path(certificate)
    identity.private_key_pem.write_to_path(token_file)
    token_file.chmod(0o644)
    files = {"KAFKA_SSL_CERTFILE": str(certificate), "KAFKA_SSL_KEYFILE": str(token_file)}
    [warning] = warned({"KAFKA_SECURITY_PROTOCOL": "SSL", **files})
    assert warning.startswith("KAFKA_SSL_KEYFILE: every user may read")


def test_doubtful_symbols_cause_warnings() -> None:
    """Repeated symbols and lower-case letters are reported."""
    assert len(warned({"ARIES_SYMBOLS": "AAPL,aapl,AAPL"})) == 2


def test_a_client_with_a_fixed_token_causes_a_warning() -> None:
    """A client ID has no effect without a refresh token."""
    (warning,) = warned({"ARIES_CLIENT_ID": "me"})
    assert "ARIES_CLIENT_ID has no effect" in warning


def test_an_invalid_environment_has_warnings() -> None:
    """Warnings are reported although there are problems."""
    assert len(warnings_of({"KAFKA_LINGER_MS": "x", "ARIES_SYMBOL": "AAPL"})) == 1
