"""The rules across several settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography.hazmat.primitives import serialization as s

from bridge.settings import examine
from tests.settings.test_environment import REQUIRED, problems

if TYPE_CHECKING:
    from pathlib import Path

TOKENLESS = {"ARIES_ACCESS_TOKEN": ""}
GRANT = {**TOKENLESS, "ARIES_REFRESH_TOKEN": "r3fresh", "ARIES_CLIENT_ID": "me"}
SASL = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}
LOGIN = {"KAFKA_SASL_USERNAME": "me", "KAFKA_SASL_PASSWORD": "s3cret"}
OAUTH = {
    "KAFKA_OAUTH_TOKEN_URL": "https://idp/token",
    "KAFKA_OAUTH_CLIENT_ID": "me",
    "KAFKA_OAUTH_CLIENT_SECRET": "s3cret",
}
REGISTRY = {"SCHEMA_REGISTRY_URL": "https://registry"}


@pytest.mark.parametrize(
    "extra",
    [
        GRANT,
        {**GRANT, "ARIES_CLIENT_SECRET": "s3cret"},
        {"ARIES_CLIENT_ID": "me"},
        {**SASL, **LOGIN, "KAFKA_SASL_MECHANISM": "PLAIN"},
        {**SASL, **LOGIN, "KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"},
        {**SASL, **LOGIN, "KAFKA_SASL_MECHANISM": "scram-sha-512", "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"},
        {**SASL, **OAUTH, "KAFKA_SASL_MECHANISM": "OAUTHBEARER"},
        {**SASL, **OAUTH, "KAFKA_SASL_MECHANISM": "OAUTHBEARER", "KAFKA_OAUTH_SCOPE": "kafka"},
        {"KAFKA_SECURITY_PROTOCOL": "SSL"},
        {**REGISTRY, "SCHEMA_REGISTRY_AUTO_REGISTER": "true"},
        {**REGISTRY, "SCHEMA_REGISTRY_USERNAME": "me", "SCHEMA_REGISTRY_PASSWORD": "s3cret"},
        {"SCHEMA_REGISTRY_AUTO_REGISTER": "false"},
        {"ARIES_BACKOFF_MAX_SECONDS": "0.1"},
        {"ARIES_BACKOFF_MIN_SECONDS": "60"},
        {"BRIDGE_BUFFER_BYTES": "100000"},
        {"KAFKA_TOPIC_QUOTES": "aries.trades", "KAFKA_TOPIC_TRADES": "aries.quotes"},
    ],
)
def test_settings_that_belong_together_are_valid(extra: dict[str, str]) -> None:
    """Complete groups of settings are valid, and so is one that contradicts only a default."""
    assert problems(extra) == ()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (TOKENLESS, "no credentials for Aries"),
        ({**GRANT, "ARIES_ACCESS_TOKEN": "t0ken"}, "ARIES_ACCESS_TOKEN and ARIES_REFRESH_TOKEN are both set"),
        ({**GRANT, "ARIES_CLIENT_ID": ""}, "ARIES_REFRESH_TOKEN alone cannot renew a token: also set ARIES_CLIENT_ID"),
        (
            {**TOKENLESS, "ARIES_CLIENT_ID": "me"},
            "alone cannot renew a token: also set ARIES_REFRESH_TOKEN",
        ),
        ({"ARIES_SUBSCRIPTIONS": "[]", "ARIES_SUBSCRIPTIONS_FILE": "/none"}, "ARIES_SUBSCRIPTIONS_FILE are both set"),
        ({"ARIES_SUBSCRIPTIONS_FILE": "/none"}, "ARIES_SUBSCRIPTIONS_FILE='/none' cannot be read"),
        (
            {"ARIES_BACKOFF_MIN_SECONDS": "2", "ARIES_BACKOFF_MAX_SECONDS": "1"},
            "(2) exceeds ARIES_BACKOFF_MAX_SECONDS (1)",
        ),
        (SASL, "KAFKA_SASL_MECHANISM is not set: set it to PLAIN"),
        ({"KAFKA_SASL_MECHANISM": "PLAIN"}, "KAFKA_SASL_MECHANISM set, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT"),
        (LOGIN, "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD set, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT"),
        ({**LOGIN, "KAFKA_SECURITY_PROTOCOL": "SSL"}, "but KAFKA_SECURITY_PROTOCOL is SSL"),
        ({"KAFKA_OAUTH_SCOPE": "x"}, "KAFKA_OAUTH_SCOPE set, but KAFKA_SECURITY_PROTOCOL"),
        (
            {**SASL, "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_USERNAME": "me"},
            "KAFKA_SASL_PASSWORD is not set: KAFKA_SASL_MECHANISM PLAIN requires it",
        ),
        (
            {**SASL, **OAUTH, "KAFKA_SASL_MECHANISM": "OAUTHBEARER", "KAFKA_OAUTH_TOKEN_URL": ""},
            "KAFKA_OAUTH_TOKEN_URL is not set: KAFKA_SASL_MECHANISM OAUTHBEARER requires it",
        ),
        (
            {**SASL, **OAUTH, **LOGIN, "KAFKA_SASL_MECHANISM": "OAUTHBEARER"},
            "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD set, but KAFKA_SASL_MECHANISM OAUTHBEARER does not use it",
        ),
        (
            {**SASL, **LOGIN, "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_OAUTH_SCOPE": "x"},
            "KAFKA_OAUTH_SCOPE set, but KAFKA_SASL_MECHANISM PLAIN does not use it",
        ),
        ({"KAFKA_TOPIC_L2": "aries.quotes"}, "KAFKA_TOPIC_QUOTES and KAFKA_TOPIC_L2 are all 'aries.quotes'"),
        ({"KAFKA_TOPIC_PREFIX": "x" * 240}, "KAFKA_TOPIC_PREFIX is too long"),
        ({"KAFKA_BATCH_BYTES": "2048", "BRIDGE_BUFFER_BYTES": "1024"}, "(2048) exceeds BRIDGE_BUFFER_BYTES (1024)"),
        ({"SCHEMA_REGISTRY_AUTO_REGISTER": "true"}, "SCHEMA_REGISTRY_AUTO_REGISTER set without SCHEMA_REGISTRY_URL"),
        ({**REGISTRY, "SCHEMA_REGISTRY_USERNAME": "me"}, "is set without SCHEMA_REGISTRY_PASSWORD"),
        ({**REGISTRY, "SCHEMA_REGISTRY_PASSWORD": "s3cret"}, "is set without SCHEMA_REGISTRY_USERNAME"),
        ({**REGISTRY, "SCHEMA_REGISTRY_CAFILE": "/none"}, "SCHEMA_REGISTRY_CAFILE='/none': cannot be read"),
    ],
)
def test_a_broken_rule_is_one_problem(extra: dict[str, str], message: str) -> None:
    """A broken rule is reported with its settings and how to fix it."""
    found = problems(extra)
    assert len(found) == 1
    assert message in found[0]


@pytest.mark.parametrize(
    "extra",
    [
        {**LOGIN, "KAFKA_SECURITY_PROTOCOL": "TLS"},
        {**SASL, **LOGIN, "KAFKA_SASL_MECHANISM": "MD5"},
        {"SCHEMA_REGISTRY_URL": "nonsense", "SCHEMA_REGISTRY_AUTO_REGISTER": "true"},
        {"ARIES_EVENTS": "[nonsense"},
        {"KAFKA_BOOTSTRAP_SERVERS": "a:b"},
    ],
)
def test_an_invalid_value_is_not_also_a_broken_rule(extra: dict[str, str]) -> None:
    """A rule about an invalid value is not reported."""
    assert len(problems(extra)) == 1


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"ARIES_WS_URL": "wss://aries.example/v1/market/ws"}, "ARIES_WS_URL"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "OAUTHBEARER"}
            | {"KAFKA_OAUTH_CLIENT_ID": "me", "KAFKA_OAUTH_CLIENT_SECRET": "s3cret"}
            | {"KAFKA_OAUTH_TOKEN_URL": "https://login.example/token"},
            "KAFKA_OAUTH_TOKEN_URL",
        ),
        ({"SCHEMA_REGISTRY_URL": "https://registry.example"}, "SCHEMA_REGISTRY_URL"),
    ],
)
@pytest.mark.parametrize("proxy", ["socks5h://me:secret-word@proxy:1", "http://me:secret-word@proxy:99999", "ftp://x"])
def test_a_proxy_that_cannot_be_used_is_a_problem(
    extra: dict[str, str], field: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one of the URL that it would be used for, with the variable to fix and without the proxy's password."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    (problem,) = problems({"ARIES_WS_URL": "ws://127.0.0.1:1/v1/market/ws", **extra})
    assert problem.startswith(f"{field}: the proxy for ")
    assert "HTTPS_PROXY" in problem
    assert "secret" not in problem


def test_a_proxy_that_is_not_used_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback addresses and hosts in NO_PROXY need none, and the token endpoint none without a refresh token."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5h://proxy:1")
    monkeypatch.setenv("NO_PROXY", ".internal")
    urls = {"ARIES_WS_URL": "wss://localhost/v1/market/ws", "SCHEMA_REGISTRY_URL": "https://registry.internal"}
    assert problems(urls) == ()


@pytest.fixture
def pem(tmp_path: Path) -> dict[str, Path]:
    """Return PEM files: an authority, a certificate and its key, another key, and a text file."""
    authority = trustme.CA()
    certificate, other = authority.issue_cert("client"), authority.issue_cert("other")
    paths = {name: tmp_path / f"{name}.pem" for name in ("authority", "certificate", "key", "other", "text")}
    authority.cert_pem.write_to_path(paths["authority"])
    certificate.cert_chain_pems[0].write_to_path(paths["certificate"])
    certificate.private_key_pem.write_to_path(paths["key"])
    other.private_key_pem.write_to_path(paths["other"])
    paths["text"].write_text("no certificate")
    return paths


def tls(**files: Path) -> tuple[str, ...]:
    """Return the problems of these TLS files."""
    named = {f"KAFKA_SSL_{name.upper()}": str(path) for name, path in files.items()}
    return problems({"KAFKA_SECURITY_PROTOCOL": "SSL", **named})


def test_valid_certificates_are_accepted(pem: dict[str, Path]) -> None:
    """An authority's file and a client certificate with its key are valid."""
    assert tls(cafile=pem["authority"], certfile=pem["certificate"], keyfile=pem["key"]) == ()
    cafile = {"SCHEMA_REGISTRY_CAFILE": str(pem["authority"])}
    assert problems({**REGISTRY, **cafile}) == ()
    (problem,) = problems({"SCHEMA_REGISTRY_URL": "http://registry", **cafile})
    assert "use https" in problem


def test_invalid_certificates_are_found_before_connecting(pem: dict[str, Path], tmp_path: Path) -> None:
    """Files that are missing, not PEM or do not match are reported with their setting."""
    none = tmp_path / "none.pem"
    for found, message in (
        (tls(cafile=none), f"KAFKA_SSL_CAFILE={str(none)!r}: cannot be read"),
        (tls(cafile=pem["text"]), "KAFKA_SSL_CAFILE="),
        (tls(cafile=pem["key"]), "has no certificate"),
        (tls(certfile=pem["certificate"]), "KAFKA_SSL_CERTFILE is set without KAFKA_SSL_KEYFILE"),
        (tls(keyfile=pem["key"]), "KAFKA_SSL_KEYFILE is set without KAFKA_SSL_CERTFILE"),
        (tls(certfile=pem["certificate"], keyfile=none), "KAFKA_SSL_KEYFILE="),
        (tls(certfile=pem["certificate"], keyfile=pem["other"]), "are not a certificate and its private key"),
        (tls(certfile=pem["text"], keyfile=pem["text"]), "are not a certificate and its private key"),
    ):
        assert len(found) == 1
        assert message in found[0]


def test_certificates_need_a_tls_protocol(pem: dict[str, Path]) -> None:
    """Files that PLAINTEXT does not use are a problem, because they suggest encryption."""
    (problem,) = problems({"KAFKA_SSL_CAFILE": str(pem["authority"])})
    assert "KAFKA_SSL_CAFILE set, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT" in problem


def test_an_encrypted_key_does_not_prompt_for_its_password(pem: dict[str, Path], tmp_path: Path) -> None:
    """A key with a password is a problem, not a prompt on the terminal."""
    key = s.load_pem_private_key(pem["key"].read_bytes(), None)
    encrypted = tmp_path / "encrypted.pem"
    encrypted.write_bytes(
        key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"hunter22"))
    )
    (problem,) = tls(certfile=pem["certificate"], keyfile=encrypted)
    assert "the key not encrypted" in problem


def test_rules_are_checked_although_other_values_are_invalid() -> None:
    """Broken rules and invalid values are reported together."""
    _, found = examine({**REQUIRED, "KAFKA_LINGER_MS": "x", "ARIES_ACCESS_TOKEN": "", **SASL})
    assert len(found) == 3


def test_a_shard_must_be_one_of_the_shards() -> None:
    """A number outside of the range is a problem that names the range."""
    (beyond,) = problems({"BRIDGE_SHARDS": "3", "BRIDGE_SHARD": "3"})
    assert "0 to 2" in beyond
    (none,) = problems({"BRIDGE_SHARDS": "3", "BRIDGE_SHARD": "-1"})
    assert "BRIDGE_SHARD" in none


@pytest.mark.parametrize(("host", "shard"), [("bridge-2", 2), ("bridge", -1)])
def test_auto_reads_the_shard_from_the_host_name(host: str, shard: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a StatefulSet's pod has its number; on other hosts, auto is a problem."""
    monkeypatch.setattr("socket.gethostname", lambda: host)
    found = problems({"BRIDGE_SHARDS": "3", "BRIDGE_SHARD": "auto"})
    assert bool(found) == (shard < 0)
