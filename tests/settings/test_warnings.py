"""What an environment may say but hardly means."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
import trustme

from bridge.settings import examine
from bridge.settings.warnings import is_loopback, names, warnings
from tests.settings.test_environment import LEAST

if TYPE_CHECKING:
    from collections.abc import Iterator


def warnings_of(environ: dict[str, str]) -> list[str]:
    """Return the warnings about an environment."""
    return warnings(examine(environ)[0], environ)


def warned(extra: dict[str, str]) -> list[str]:
    """Return the warnings about a good environment after a change."""
    return warnings_of({**LEAST, **extra})


def test_a_good_environment_is_not_warned_about() -> None:
    """Known names, names of others and an empty environment give no warning."""
    assert warned({"PATH": "/bin", "HOME": "/", "MY_ARIES_X": "1"}) == []
    assert warnings_of({}) == []


def test_every_name_of_ours_is_known() -> None:
    """No setting, and no file of a secret, is taken for a mistake."""
    assert not [warning for warning in warnings_of(dict.fromkeys(names(), "")) if "is not a setting" in warning]


@pytest.mark.parametrize(
    ("name", "meant"),
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
def test_a_near_miss_is_told_with_the_real_name(name: str, meant: str) -> None:
    """A misspelt setting is named with what was probably meant, without its value."""
    (warning,) = warned({name: "hunter22"})
    assert warning.startswith(f"{name} is not a setting")
    assert f"did you mean {meant}?" in warning
    assert "hunter22" not in warning


def test_a_name_like_no_other_is_told_without_a_guess() -> None:
    """Where nothing is near, no name is suggested."""
    (warning,) = warned({"KAFKA_XYZZY": "1"})
    assert "KAFKA_XYZZY" in warning
    assert "did you mean" not in warning


def test_what_kubernetes_sets_is_not_warned_about() -> None:
    """A service called kafka, or aries-bridge, brings variables that are nobody's mistake."""
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


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1", "aries.localhost"])
def test_this_machine_is_known(host: str) -> None:
    """Loopback names and addresses are this machine's."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "api.aries.com", "10.0.0.1", "::2", "localhost.example"])
def test_other_machines_are_known(host: str) -> None:
    """Anything else is on the network."""
    assert not is_loopback(host)


SASL = {"KAFKA_SASL_USERNAME": "me", "KAFKA_SASL_PASSWORD": "s3cret", "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}
REGISTRY = {"SCHEMA_REGISTRY_USERNAME": "me", "SCHEMA_REGISTRY_PASSWORD": "s3cret"}


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"ARIES_WS_URL": "ws://feed/x"}, "ARIES_WS_URL is ws://"),
        ({"ARIES_TOKEN_URL": "http://idp/x", "ARIES_REFRESH_TOKEN": "x"}, "ARIES_TOKEN_URL is http://"),
        ({**REGISTRY, "SCHEMA_REGISTRY_URL": "http://registry"}, "SCHEMA_REGISTRY_URL is http://"),
        ({"KAFKA_OAUTH_TOKEN_URL": "http://idp"}, "KAFKA_OAUTH_TOKEN_URL is http://"),
        ({**SASL, "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_BOOTSTRAP_SERVERS": "kafka:1"}, "use SASL_SSL"),
        ({**SASL, "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_BOOTSTRAP_SERVERS": "kafka"}, "use SASL_SSL"),
    ],
)
def test_credentials_in_the_clear_are_warned_about(extra: dict[str, str], said: str) -> None:
    """Whatever sends a secret over the network without TLS is told."""
    (warning,) = warned(extra)
    assert said in warning
    assert "in the clear" in warning


@pytest.mark.parametrize(
    "extra",
    [
        {"ARIES_WS_URL": "ws://127.0.0.1:8080/x"},
        {"ARIES_WS_URL": "ws://[::1]:8080/x"},
        {"ARIES_TOKEN_URL": "http://idp/x"},
        {"SCHEMA_REGISTRY_URL": "http://registry"},
        {**SASL, "KAFKA_SASL_MECHANISM": "PLAIN"},
        {**SASL, "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_BOOTSTRAP_SERVERS": "[::1]:9092,localhost"},
        {**SASL, "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "KAFKA_BOOTSTRAP_SERVERS": "kafka:1"},
    ],
)
def test_what_stays_here_or_carries_no_secret_is_not_warned_about(extra: dict[str, str]) -> None:
    """Loopback, unused URLs, a registry without login and SCRAM are no reason to worry."""
    assert warned(extra) == []


def test_no_setting_lets_a_certificate_go_unchecked() -> None:
    """Who trusts an authority of their own names it; nothing switches the check off but a broker's host name."""
    words = ("VERIFY", "INSECURE", "TRUST", "CHECK", "VALIDATE", "SKIP")
    assert [name for name in names() if any(word in name for word in words)] == ["KAFKA_SSL_CHECK_HOSTNAME"]


@pytest.fixture
def token_file() -> Iterator[Path]:
    """Return a file in a directory that everybody may enter, as those of mounted secrets are."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        path = Path(directory) / "token"
        path.write_text("s3cret")
        yield path


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (0o400, None),
        (0o600, None),
        (0o440, None),  # what Kubernetes makes of a secret for a process that is not root
        (0o444, "everybody may read"),
        (0o644, "everybody may read"),
        (0o460, "its group may write"),
        (0o666, "everybody may write"),
    ],
)
def test_a_secret_s_file_that_is_too_open_is_warned_about(token_file: Path, mode: int, said: str | None) -> None:
    """Whoever may read a token can use it, and whoever may write it can replace it: the worst is told, once."""
    token_file.chmod(mode)
    found = warned({"ARIES_ACCESS_TOKEN": "", "ARIES_ACCESS_TOKEN_FILE": str(token_file)})
    if said is None:
        assert found == []
    else:
        [warning] = found
        assert warning.startswith(f"ARIES_ACCESS_TOKEN_FILE: {said}")
        assert "chmod" in warning
        assert "s3cret" not in warning


def test_a_secret_s_file_is_as_open_as_the_directories_above_it(token_file: Path) -> None:
    """Who cannot reach a file cannot read it; behind a link, the file's own directories count."""
    environ = {"ARIES_ACCESS_TOKEN": "", "ARIES_ACCESS_TOKEN_FILE": str(token_file)}
    token_file.parent.chmod(0o700)
    assert warned(environ) == []
    with TemporaryDirectory() as elsewhere:
        Path(elsewhere).chmod(0o755)
        target = token_file.rename(Path(elsewhere) / "token")
        target.chmod(0o644)
        token_file.symlink_to(target)
        assert len(warned(environ)) == 1


def test_a_private_key_that_is_too_open_is_warned_about(token_file: Path, tmp_path: Path) -> None:
    """The key of the client certificate is a secret, too."""
    identity = trustme.CA().issue_cert("bridge")
    certificate = tmp_path / "certificate.pem"
    identity.cert_chain_pems[0].write_to_path(certificate)
    identity.private_key_pem.write_to_path(token_file)
    token_file.chmod(0o644)
    files = {"KAFKA_SSL_CERTFILE": str(certificate), "KAFKA_SSL_KEYFILE": str(token_file)}
    [warning] = warned({"KAFKA_SECURITY_PROTOCOL": "SSL", **files})
    assert warning.startswith("KAFKA_SSL_KEYFILE: everybody may read")


def test_symbols_that_look_unintended_are_told() -> None:
    """Repeats and small letters come with the others' warnings."""
    assert len(warned({"ARIES_SYMBOLS": "AAPL,aapl,AAPL"})) == 2


def test_a_client_beside_a_fixed_token_is_told() -> None:
    """A client's id has no effect without a refresh token."""
    (warning,) = warned({"ARIES_CLIENT_ID": "me"})
    assert "ARIES_CLIENT_ID has no effect" in warning


def test_a_broken_environment_can_be_warned_about() -> None:
    """Problems do not keep the warnings back."""
    assert len(warnings_of({"KAFKA_LINGER_MS": "x", "ARIES_SYMBOL": "AAPL"})) == 1
