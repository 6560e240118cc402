"""Warnings about what is valid, but probably not intended."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
import trustme

from bridge.settings import examine
from bridge.settings.fields import names
from bridge.settings.warnings import warnings
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
        ("KAFKA_TOPIC_SHARD", "KAFKA_TOPIC_SHARDS"),
        ("KAFKA_GROUP_ID", "BRIDGE_GROUP"),
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


def test_a_token_file_that_is_not_there_yet(tmp_path: Path) -> None:
    """A file that something else writes is no problem at the start, but worth a warning."""
    environ = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
        "KAFKA_OAUTH_TOKEN_FILE": str(tmp_path / "token"),
    }
    (warning,) = warned(environ)
    assert f"the file '{tmp_path / 'token'}' of KAFKA_OAUTH_TOKEN_FILE cannot be read" in warning
    (tmp_path / "token").touch(mode=0o600)
    (warning,) = warned(environ)
    assert "is empty" in warning
    (tmp_path / "token").write_text("t0ken")
    assert warned(environ) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"hunter22"', "is in quotes, which are part of the value"),
        ("'hunter22'", "is in quotes"),
        ("\u201chunter22\u201d", "is in quotes"),
        ("Bearer hunter22", "begins with 'Bearer '"),
        ("bearer hunter22", "begins with 'Bearer '"),
        (" hunter22", "begins or ends with a space or line break"),
        ("hunter22\t\n", "begins or ends with a space"),
        ("\n\nhunter22", "begins or ends with a space"),
        ("hunter22\nhunter23", "has several lines"),
        ("SECRET=hunter22", "begins with the name of the variable"),
    ],
)
@pytest.mark.parametrize("name", ["ARIES_ACCESS_TOKEN", "KAFKA_SASL_PASSWORD", "SCHEMA_REGISTRY_PASSWORD"])
def test_surplus_characters_of_a_secret(name: str, text: str, words: str, tmp_path: Path) -> None:
    """A warning names the variable, or the file, and what was copied with the secret; it does not show the secret."""
    text = text.replace("SECRET", name)
    others = {
        "KAFKA_SASL_PASSWORD": {**SASL, "KAFKA_SASL_USERNAME": "me"},
        "SCHEMA_REGISTRY_PASSWORD": {"SCHEMA_REGISTRY_URL": "https://registry", "SCHEMA_REGISTRY_USERNAME": "me"},
    }.get(name, {})
    (warning,) = warned({**others, name: text})
    assert warning.startswith(f"{name} {words}")
    assert "hunter" not in warning

    file = tmp_path / "secret"
    file.touch(mode=0o600)
    file.write_text(text)
    (warning,) = warned({**others, name: "", f"{name}_FILE": str(file)})
    assert warning.startswith(f"{name}_FILE ({file}) {words}")
    assert "hunter" not in warning


SASL = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "PLAIN"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("KAFKA_OAUTH_SCOPE", '"kafka"'),
        ("KAFKA_OAUTH_CLIENT_ID", "'me'"),
        ("BRIDGE_INSTANCE", '"bridge-1"'),
        ("KAFKA_BOOTSTRAP_SERVERS", '"kafka"'),
    ],
)
def test_a_quoted_value_that_is_valid(name: str, text: str) -> None:
    """Quotes are never meant, even where any text is valid."""
    environ = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
        "KAFKA_OAUTH_TOKEN_URL": "https://idp/token",
        "KAFKA_OAUTH_CLIENT_ID": "me",
        "KAFKA_OAUTH_CLIENT_SECRET": "s3cret",
        name: text,
    }
    (warning,) = warned(environ)
    assert warning.startswith(f"{name} is in quotes, which are part of the value: remove them")


@pytest.mark.parametrize("text", ['say "hi"', "it's", '"', "'\"", ""])
def test_quotes_within_a_value_cause_no_warning(text: str) -> None:
    """Only a value that is in quotes as a whole is suspicious."""
    assert warned({"BRIDGE_INSTANCE": text}) == []


@pytest.mark.parametrize("name", ["aries_symbols", "Aries_Symbols", "ARIES-SYMBOLS", "aries.symbols"])
def test_a_name_in_another_case_has_no_effect(name: str) -> None:
    """Names are case sensitive: a variable that differs only in case or separators is reported."""
    (warning,) = warned({name: "MSFT"})
    assert warning == f"{name} is not a setting and has no effect: did you mean ARIES_SYMBOLS?"


def test_similar_names_of_other_programs_cause_no_warning() -> None:
    """A name without a prefix of ours, or in lower case, is another program's."""
    for name in (
        "aries_symbol",
        "kafka_home",
        "SYMBOLS",
        "BOOTSTRAP_SERVERS",
        "AWS_REGION",
        "AWS_REGIONS",
        "CLIENT_ID",
    ):
        assert warned({name: "x"}) == []
