"""The rules across several settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography.hazmat.primitives import serialization as s

from bridge.settings import examine
from tests.settings.test_environment import REQUIRED, problems
from tests.support import msk_signer

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
BEARER = {**SASL, "KAFKA_SASL_MECHANISM": "OAUTHBEARER"}
ASSERTION = {"KAFKA_OAUTH_TOKEN_URL": "https://idp/token", "KAFKA_OAUTH_CLIENT_ASSERTION_FILE": "/run/assertion"}
TOKEN = {"KAFKA_OAUTH_TOKEN_FILE": "/run/token"}
MSK = {**SASL, "KAFKA_SASL_MECHANISM": "AWS_MSK_IAM"}
REGISTRY = {"SCHEMA_REGISTRY_URL": "https://registry"}
REGISTRY_LOGIN = {"SCHEMA_REGISTRY_USERNAME": "me", "SCHEMA_REGISTRY_PASSWORD": "s3cret"}
REGISTRY_TOKEN = {"SCHEMA_REGISTRY_BEARER_TOKEN": "t0ken"}
REGISTRY_OAUTH = {
    "SCHEMA_REGISTRY_OAUTH_TOKEN_URL": "https://idp/token",
    "SCHEMA_REGISTRY_OAUTH_CLIENT_ID": "me",
    "SCHEMA_REGISTRY_OAUTH_CLIENT_SECRET": "s3cret",
}
CLOUD = {"SCHEMA_REGISTRY_LOGICAL_CLUSTER": "lsrc-1", "SCHEMA_REGISTRY_IDENTITY_POOL_ID": "pool-1"}


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
        {**BEARER, **TOKEN, "KAFKA_OAUTH_EXTENSIONS": "logicalCluster=lkc-1,identityPoolId=pool-1"},
        {**BEARER, "KAFKA_OAUTH_TOKEN": "s3cret", "KAFKA_OAUTH_EXTENSIONS": '["a=x,y"]'},
        {**BEARER, **ASSERTION},
        {**BEARER, **ASSERTION, "KAFKA_OAUTH_CLIENT_ID": "me", "KAFKA_OAUTH_SCOPE": "api://kafka/.default"},
        {"KAFKA_SECURITY_PROTOCOL": "SSL"},
        {**REGISTRY, "SCHEMA_REGISTRY_AUTO_REGISTER": "true"},
        {**REGISTRY, **REGISTRY_LOGIN},
        {**REGISTRY, **REGISTRY_TOKEN, **CLOUD},
        {**REGISTRY, **REGISTRY_OAUTH, **CLOUD, "SCHEMA_REGISTRY_OAUTH_SCOPE": "registry"},
        {"SCHEMA_REGISTRY_URL": "https://one, https://two:8081/api", **REGISTRY_LOGIN},
        {"SCHEMA_REGISTRY_URL": '["https://one", "https://two:8081/api"]', **REGISTRY_LOGIN},
        {**REGISTRY, "SCHEMA_REGISTRY_CONTEXT": ".staging"},
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
        (BEARER, "OAUTHBEARER needs a token: set KAFKA_OAUTH_TOKEN_URL with KAFKA_OAUTH_CLIENT_ID and"),
        (
            {**BEARER, **OAUTH, "KAFKA_OAUTH_CLIENT_SECRET": ""},
            "KAFKA_OAUTH_CLIENT_SECRET is not set: KAFKA_SASL_MECHANISM OAUTHBEARER requires it",
        ),
        (
            {**BEARER, **ASSERTION, "KAFKA_OAUTH_TOKEN_URL": ""},
            "KAFKA_OAUTH_TOKEN_URL is not set: KAFKA_SASL_MECHANISM OAUTHBEARER requires it",
        ),
        (
            {**BEARER, **OAUTH, **ASSERTION},
            "KAFKA_OAUTH_CLIENT_SECRET and KAFKA_OAUTH_CLIENT_ASSERTION_FILE set: keep the one by which",
        ),
        (
            {**BEARER, **TOKEN, **OAUTH},
            (
                "KAFKA_OAUTH_TOKEN_FILE and KAFKA_OAUTH_TOKEN_URL and KAFKA_OAUTH_CLIENT_ID and KAFKA_OAUTH_CLIENT_"
                "SECRET set, but a token is either given or requested"
            ),
        ),
        ({**BEARER, **TOKEN, "KAFKA_OAUTH_SCOPE": "x"}, "KAFKA_OAUTH_TOKEN_FILE and KAFKA_OAUTH_SCOPE set, but"),
        ({**BEARER, **TOKEN, "KAFKA_SASL_USERNAME": "me"}, "KAFKA_SASL_USERNAME set, but KAFKA_SASL_MECHANISM OAUTHB"),
        (
            {**BEARER, **TOKEN, "KAFKA_OAUTH_TOKEN": "s3cret"},
            "KAFKA_OAUTH_TOKEN: set together with KAFKA_OAUTH_TOKEN_FILE",
        ),
        (TOKEN, "KAFKA_OAUTH_TOKEN_FILE set, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT"),
        (
            {**SASL, **LOGIN, **TOKEN, "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_OAUTH_EXTENSIONS": "a=b"},
            "KAFKA_OAUTH_TOKEN_FILE and KAFKA_OAUTH_EXTENSIONS set, but KAFKA_SASL_MECHANISM PLAIN does not use it",
        ),
        ({"KAFKA_TOPIC_L2": "aries.quotes"}, "KAFKA_TOPIC_QUOTES and KAFKA_TOPIC_L2 are all 'aries.quotes'"),
        ({"KAFKA_TOPIC_PREFIX": "x" * 240}, "KAFKA_TOPIC_PREFIX is too long"),
        ({"KAFKA_BATCH_BYTES": "2048", "BRIDGE_BUFFER_BYTES": "1024"}, "(2048) exceeds BRIDGE_BUFFER_BYTES (1024)"),
        ({"SCHEMA_REGISTRY_AUTO_REGISTER": "true"}, "SCHEMA_REGISTRY_AUTO_REGISTER set without SCHEMA_REGISTRY_URL"),
        ({**REGISTRY, "SCHEMA_REGISTRY_USERNAME": "me"}, "is set without SCHEMA_REGISTRY_PASSWORD"),
        ({**REGISTRY, "SCHEMA_REGISTRY_PASSWORD": "s3cret"}, "is set without SCHEMA_REGISTRY_USERNAME"),
        (REGISTRY_TOKEN, "SCHEMA_REGISTRY_BEARER_TOKEN set without SCHEMA_REGISTRY_URL"),
        ({"SCHEMA_REGISTRY_CONTEXT": "x"}, "SCHEMA_REGISTRY_CONTEXT set without SCHEMA_REGISTRY_URL"),
        (
            {**REGISTRY, **REGISTRY_LOGIN, **REGISTRY_TOKEN},
            "2 logins (SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD; SCHEMA_REGISTRY_BEARER_TOKEN): keep one",
        ),
        (
            {**REGISTRY, "SCHEMA_REGISTRY_USERNAME": "me", **REGISTRY_TOKEN, "SCHEMA_REGISTRY_OAUTH_SCOPE": "x"},
            "3 logins (SCHEMA_REGISTRY_USERNAME; SCHEMA_REGISTRY_BEARER_TOKEN; SCHEMA_REGISTRY_OAUTH_SCOPE): keep one",
        ),
        (
            {**REGISTRY, **REGISTRY_OAUTH, "SCHEMA_REGISTRY_OAUTH_CLIENT_SECRET": ""},
            "CLIENT_ID set without SCHEMA_REGISTRY_OAUTH_CLIENT_SECRET",
        ),
        ({**REGISTRY, "SCHEMA_REGISTRY_OAUTH_SCOPE": "x"}, "SCHEMA_REGISTRY_OAUTH_SCOPE set without"),
        ({**REGISTRY, **REGISTRY_LOGIN, **CLOUD}, "SCHEMA_REGISTRY_IDENTITY_POOL_ID set, but there is no token"),
        ({**REGISTRY, **REGISTRY_TOKEN, "SCHEMA_REGISTRY_LOGICAL_CLUSTER": "a b"}, "CLUSTER='a b': must be an ID"),
        ({**REGISTRY, **REGISTRY_LOGIN, "SCHEMA_REGISTRY_USERNAME": "a:b"}, "contains a colon"),
        ({**REGISTRY, "SCHEMA_REGISTRY_CONTEXT": "a b"}, "SCHEMA_REGISTRY_CONTEXT='a b': a context has a name"),
        ({"SCHEMA_REGISTRY_URL": "https://one,two:8081"}, "must be a URL that starts with http:// or https://"),
        ({"SCHEMA_REGISTRY_URL": ","}, "it contains no URL"),
        ({**REGISTRY, "SCHEMA_REGISTRY_CAFILE": "/none"}, "SCHEMA_REGISTRY_CAFILE='/none': cannot be read"),
    ],
)
def test_a_broken_rule_is_one_problem(extra: dict[str, str], message: str) -> None:
    """A broken rule is reported with its settings and how to fix it."""
    found = problems(extra)
    assert len(found) == 1
    assert message in found[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("logicalCluster", "'logicalCluster' is not name=value"),
        ("logicalCluster=", "is not name=value"),
        ("=lkc-1", "is not name=value"),
        ("logical-cluster=lkc-1", "a name is of letters"),
        ("a=b,pool2=x", "'pool2=x' is not name=value"),
        ("a=\u00e9", "a value of printable ASCII"),
        ("a=b\x01auth=Bearer x", "a value of printable ASCII"),
        ("auth=x", "'auth' is the name of the token itself"),
        ("a=b,a=c", "'a' is named twice"),
    ],
)
def test_extensions_are_validated(text: str, problem: str) -> None:
    """What a broker would reject, or take for the token, is a problem that names the extension."""
    (found,) = problems({**BEARER, **TOKEN, "KAFKA_OAUTH_EXTENSIONS": text})
    assert found.startswith("KAFKA_OAUTH_EXTENSIONS=")
    assert problem in found


@pytest.fixture
def signer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package with the name of AWS's signer."""
    msk_signer.install(tmp_path, monkeypatch)


@pytest.mark.usefixtures("signer")
def test_msk_needs_only_a_region() -> None:
    """The region has AWS's two names, of which AWS_REGION counts first."""
    assert problems({**MSK, "AWS_REGION": "eu-central-1"}) == ()
    assert problems({**MSK, "AWS_DEFAULT_REGION": "us-gov-west-1"}) == ()
    both, _ = examine({**REQUIRED, **MSK, "AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "us-east-1"})
    assert both.aws_region == "eu-central-1"
    for environ, message in (
        (MSK, "AWS_REGION is not set: KAFKA_SASL_MECHANISM AWS_MSK_IAM requires it"),
        ({**MSK, "AWS_REGION": "Frankfurt"}, "AWS_REGION='Frankfurt' is not the code of a region"),
        ({**MSK, "AWS_REGION": "a/b.example"}, "is not the code of a region"),
        (
            {**MSK, **LOGIN, **TOKEN, "AWS_REGION": "eu-central-1"},
            "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD and KAFKA_OAUTH_TOKEN_FILE set, but KAFKA_SASL_MECHANISM AWS_",
        ),
    ):
        (found,) = problems(environ)
        assert message in found


def test_msk_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the signer the problem says how to install it, beside every other problem."""
    monkeypatch.setattr("bridge.settings.validation.find_spec", lambda _: None)
    missing, region = problems(MSK)
    assert "pip install 'aries-kafka-bridge[msk-iam]'" in missing
    assert "--build-arg EXTRA=msk-iam" in missing
    assert "AWS_REGION" in region


def test_a_region_of_other_programs_is_none_of_ours() -> None:
    """Without AWS_MSK_IAM the region has no effect, whatever it is."""
    assert problems({"AWS_REGION": "Frankfurt"}) == ()


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
    pair = {
        "SCHEMA_REGISTRY_CERTFILE": str(pem["certificate"]),
        "SCHEMA_REGISTRY_KEYFILE": str(pem["key"]),
        "SCHEMA_REGISTRY_URL": "http://localhost, https://registry",
    }
    assert problems({**cafile, **pair}) == ()
    (problem,) = problems({**pair, "SCHEMA_REGISTRY_KEYFILE": str(pem["other"])})
    assert "SCHEMA_REGISTRY_CERTFILE and SCHEMA_REGISTRY_KEYFILE" in problem
    (problem,) = problems({**REGISTRY, "SCHEMA_REGISTRY_CERTFILE": pair["SCHEMA_REGISTRY_CERTFILE"]})
    assert "is set without SCHEMA_REGISTRY_KEYFILE" in problem


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


@pytest.fixture(params=[s.PrivateFormat.PKCS8, s.PrivateFormat.TraditionalOpenSSL], ids=["pkcs8", "traditional"])
def encrypted(request: pytest.FixtureRequest, pem: dict[str, Path]) -> Path:
    """Return the file of the certificate's key, encrypted, in each of the two PEM formats."""
    key = s.load_pem_private_key(pem["key"].read_bytes(), None)
    file = pem["key"].with_name("encrypted.pem")
    file.write_bytes(key.private_bytes(s.Encoding.PEM, request.param, s.BestAvailableEncryption(b"hunter22")))
    return file


def with_key_password(pem: dict[str, Path], key: Path, password: str) -> tuple[str, ...]:
    """Return the problems of a client certificate whose key has this password."""
    files = {"KAFKA_SSL_CERTFILE": str(pem["certificate"]), "KAFKA_SSL_KEYFILE": str(key)}
    return problems({"KAFKA_SECURITY_PROTOCOL": "SSL", **files, "KAFKA_SSL_KEY_PASSWORD": password})


def test_an_encrypted_key_does_not_prompt_for_its_password(pem: dict[str, Path], encrypted: Path) -> None:
    """A key whose password is not set is a problem, not a prompt on the terminal."""
    (problem,) = tls(certfile=pem["certificate"], keyfile=encrypted)
    assert problem == f"KAFKA_SSL_KEYFILE ({encrypted}) is encrypted: set KAFKA_SSL_KEY_PASSWORD to its password."


def test_an_encrypted_key_is_read_with_its_password(pem: dict[str, Path], encrypted: Path, tmp_path: Path) -> None:
    """The password may be in a file, and an unencrypted key does not need it."""
    assert with_key_password(pem, encrypted, "hunter22") == ()
    assert with_key_password(pem, pem["key"], "hunter22") == ()
    file = tmp_path / "password"
    file.write_text("hunter22\n")
    assert tls(certfile=pem["certificate"], keyfile=encrypted, key_password_file=file) == ()


@pytest.mark.parametrize("wrong", ["hunter23", "x" * 2000, "\N{SNOWMAN}"])
def test_a_wrong_key_password_is_reported(pem: dict[str, Path], encrypted: Path, wrong: str) -> None:
    """One sentence names the password's setting, and not the password."""
    (problem,) = with_key_password(pem, encrypted, wrong)
    assert problem.startswith(f"KAFKA_SSL_KEY_PASSWORD is not the password of KAFKA_SSL_KEYFILE ({encrypted})")
    assert wrong not in problem


def test_the_right_password_of_another_certificates_key(pem: dict[str, Path], tmp_path: Path) -> None:
    """If the key was decrypted but does not match, the password is not to blame."""
    key = s.load_pem_private_key(pem["other"].read_bytes(), None)
    file = tmp_path / "other-encrypted.pem"
    file.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"hunter22")))
    (problem,) = with_key_password(pem, file, "hunter22")
    assert "are not a certificate and its private key (key values mismatch)" in problem


def test_a_key_password_belongs_to_a_key() -> None:
    """A password without a key is a problem, and so is one without TLS."""
    (problem,) = problems({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_KEY_PASSWORD": "hunter22"})
    assert "KAFKA_SSL_KEY_PASSWORD is set without KAFKA_SSL_KEYFILE" in problem
    unused, _ = problems({"KAFKA_SSL_KEY_PASSWORD": "hunter22"})
    assert "KAFKA_SSL_KEY_PASSWORD set, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT" in unused


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


@pytest.mark.parametrize("shards", ["1", "3"])
def test_bridges_of_a_group_share_any_number_of_shards(shards: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member of a group has no number of its own, whatever its host is called."""
    monkeypatch.setattr("socket.gethostname", lambda: "bridge-7")
    assert problems({"BRIDGE_SHARDS": shards, "BRIDGE_SHARD": "group"}) == ()
    (none,) = problems({"BRIDGE_SHARDS": "0", "BRIDGE_SHARD": "group"})
    assert "BRIDGE_SHARDS" in none


def test_the_topic_of_the_shards_is_no_other_topic() -> None:
    """Marks among the records of another topic would be read as damaged records."""
    (problem,) = problems({"KAFKA_TOPIC_SHARDS": "aries.control"})
    assert "KAFKA_TOPIC_CONTROL and KAFKA_TOPIC_SHARDS are all 'aries.control'" in problem


@pytest.mark.parametrize(("host", "shard"), [("bridge-2", 2), ("bridge", -1)])
def test_auto_reads_the_shard_from_the_host_name(host: str, shard: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a StatefulSet's pod has its number; on other hosts, auto is a problem."""
    monkeypatch.setattr("socket.gethostname", lambda: host)
    found = problems({"BRIDGE_SHARDS": "3", "BRIDGE_SHARD": "auto"})
    assert bool(found) == (shard < 0)


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"BRIDGE_CAPTURE_MODE": "INCIDENTS", "BRIDGE_CAPTURE_MAX_BYTES": "16777216"},
        {"BRIDGE_FLIGHT_RECORDER_BYTES": "0"},
    ],
)
def test_captures_are_written_to_a_directory(tmp_path: Path, extra: dict[str, str]) -> None:
    """All other settings have defaults; without a directory, the flight recorder may be off all the same."""
    assert problems({"BRIDGE_CAPTURE_DIR": str(tmp_path), **extra}) == ()
    assert problems({"BRIDGE_FLIGHT_RECORDER_BYTES": "0"}) == ()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"BRIDGE_CAPTURE_MODE": "incidents", "BRIDGE_FLIGHT_RECORDER_BYTES": "0"}, "nothing would be written"),
        (
            {"BRIDGE_CAPTURE_MAX_BYTES": "16777216", "BRIDGE_FLIGHT_RECORDER_BYTES": "8388609"},
            "(8388609) exceeds half of BRIDGE_CAPTURE_MAX_BYTES (16777216)",
        ),
        ({"BRIDGE_CAPTURE_MAX_BYTES": "16777215"}, "should be greater than or equal to 16777216"),
        ({"BRIDGE_CAPTURE_MODE": "some"}, "should be 'all' or 'incidents'"),
    ],
)
def test_captures_that_cannot_be_meant_are_a_problem(tmp_path: Path, extra: dict[str, str], message: str) -> None:
    """The text names the settings that contradict each other."""
    [problem] = problems({"BRIDGE_CAPTURE_DIR": str(tmp_path), **extra})
    assert message in problem


@pytest.mark.parametrize("name", ["none", "file"])
def test_a_directory_for_captures_that_is_none_is_a_problem(tmp_path: Path, name: str) -> None:
    """It is found at start, and not with the first frame."""
    (tmp_path / "file").touch()
    [problem] = problems({"BRIDGE_CAPTURE_DIR": str(tmp_path / name)})
    assert f"{name}': not a directory that the bridge may write to; create it" in problem


def test_settings_of_captures_need_their_directory() -> None:
    """Without it nothing is captured, which cannot be meant; a default may be written out."""
    assert problems({"BRIDGE_CAPTURE_MODE": "all", "BRIDGE_FLIGHT_RECORDER_BYTES": "8388608"}) == ()
    [problem] = problems({"BRIDGE_CAPTURE_MODE": "incidents", "BRIDGE_CAPTURE_MAX_BYTES": "99999999"})
    assert problem.startswith("BRIDGE_CAPTURE_MODE and BRIDGE_CAPTURE_MAX_BYTES set without BRIDGE_CAPTURE_DIR: set")
