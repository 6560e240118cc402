"""Reading the settings from an environment: values, all problems at once, no secret shown."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.errors import SettingsError
from bridge.settings import Problem, Settings, examine, load, load_only
from bridge.settings import table as settings_table
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bridge.secrets.secret import Secret

REQUIRED = {"ARIES_ACCESS_TOKEN": "s3cret", "ARIES_SYMBOLS": "AAPL", "KAFKA_BOOTSTRAP_SERVERS": "localhost:9092"}


def sentences(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the problems of an environment as sentences."""
    return tuple(map(str, examine(environ)[1]))


def problems(extra: Mapping[str, str]) -> tuple[str, ...]:
    """Return the problems of a valid environment with these changes."""
    return sentences({**REQUIRED, **extra})


def test_settings_that_are_not_set_have_the_documented_defaults() -> None:
    """With the required settings alone, all others have the default of the contract."""
    settings = load(REQUIRED)
    expected = {
        "aries_ws_url": "wss://api.aries.com/v1/marketdata/ws",
        "aries_dialect": "auto",
        "aries_level2": "unknown",
        "aries_token_url": "https://api.aries.com/v1/oauth2/token",
        "aries_symbols": ("AAPL",),
        "aries_events": ("quotes", "trades", "l2", "timesales"),
        "aries_ping_interval_seconds": 30.0,
        "aries_pong_timeout_seconds": 10.0,
        "aries_stale_after_seconds": 60.0,
        "aries_stale_symbol_seconds": "quotes=900,index.trades=900,option.quotes=0",
        "aries_max_frames_per_second": 20,
        "aries_backoff_min_seconds": 0.5,
        "aries_backoff_max_seconds": 30.0,
        "kafka_bootstrap_servers": ("localhost:9092",),
        "kafka_security_protocol": "PLAINTEXT",
        "kafka_ssl_check_hostname": True,
        "kafka_oauth_extensions": (),
        "kafka_topic_prefix": "aries",
        "kafka_compression": "zstd",
        "kafka_linger_ms": 2,
        "kafka_batch_bytes": 524288,
        "kafka_delivery_timeout_seconds": 120.0,
        "schema_registry_auto_register": False,
        "bridge_buffer_bytes": 268435456,
        "bridge_conflate_ms": 0,
        "bridge_encoder": "auto",
        "bridge_latest": False,
        "bridge_latest_interval_ms": 1000,
        "bridge_capture_mode": "all",
        "bridge_capture_max_bytes": 1 << 30,
        "bridge_flight_recorder_bytes": 8 << 20,
        "bridge_instance": socket.gethostname(),
        "bridge_shards": 1,
        "bridge_shard": "0",
        "bridge_http_host": "::",
        "bridge_http_port": 8080,
        "bridge_drain_seconds": 20.0,
        "bridge_log_level": "INFO",
        "bridge_log_format": "json",
    }
    rest = set(Settings.model_fields) - set(expected) - {"aries_access_token"}
    assert {name: getattr(settings, name) for name in expected} == expected
    assert {getattr(settings, name) for name in rest} == {None}
    assert settings.aries_access_token is not None
    assert settings.aries_access_token.reveal() == "s3cret"


@pytest.mark.parametrize("value", ["tcp://10.0.0.1:80", " udp://[::1]:53 "])
def test_variables_injected_by_kubernetes_are_ignored(value: str) -> None:
    """A Service called ``bridge-http`` sets BRIDGE_HTTP_PORT to its address: the default is used."""
    assert load({**REQUIRED, "BRIDGE_HTTP_PORT": value}).bridge_http_port == 8080


@pytest.mark.parametrize("value", ["70000", "-1", "http", "tcp:80"])
def test_an_invalid_port_is_a_problem(value: str) -> None:
    """Any other value that is not a port is reported."""
    (problem,) = problems({"BRIDGE_HTTP_PORT": value})
    assert problem.startswith(f"BRIDGE_HTTP_PORT='{value}'")


def test_all_missing_settings_are_reported_at_once() -> None:
    """An empty environment is one error that names the three required settings."""
    with pytest.raises(SettingsError) as caught:
        load({})
    assert caught.value.exit_code == 2
    assert len(caught.value.problems) == 3
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "ARIES_ACCESS_TOKEN", "ARIES_SYMBOLS"):
        assert name in str(caught.value)


def test_all_kinds_of_problems_are_reported_at_once(tmp_path: Path) -> None:
    """Invalid values, broken rules, unreadable files and invalid symbols are in one message, one line each."""
    found = problems(
        {
            "ARIES_WS_URL": "http://feed",
            "ARIES_DIALECT": "morse",
            "KAFKA_LINGER_MS": "soon",
            "KAFKA_SSL_CAFILE": str(tmp_path / "none.pem"),
            "ARIES_SYMBOLS": "AAPL,A B",
            "SCHEMA_REGISTRY_USERNAME": "me",
            "ARIES_API_KEY_FILE": str(tmp_path / "none"),
        }
    )
    named = {problem.partition("=")[0].partition(":")[0].partition(" ")[0].partition(",")[0] for problem in found}
    assert {"ARIES_WS_URL", "ARIES_DIALECT", "KAFKA_LINGER_MS", "KAFKA_SSL_CAFILE", "ARIES_SYMBOLS"} < named
    assert {"SCHEMA_REGISTRY_USERNAME", "ARIES_API_KEY"} < named


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument, the process's environment is read."""
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BRIDGE_INSTANCE", "from-process")
    assert load().bridge_instance == "from-process"


def test_a_mapping_is_read_instead_of_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the mapping is read, and the process's environment is not changed."""
    monkeypatch.setenv("BRIDGE_INSTANCE", "from-process")
    before = dict(os.environ)
    assert load(REQUIRED).bridge_instance == socket.gethostname()
    assert load({**os.environ, **REQUIRED}).bridge_instance == "from-process"
    assert dict(os.environ) == before


def test_names_are_case_sensitive() -> None:
    """A variable with a setting's name in lower case is not the setting."""
    assert load({**REQUIRED, "aries_symbols": "MSFT", "Bridge_Instance": "x"}).aries_symbols == ("AAPL",)


def test_a_part_of_the_settings_can_be_loaded_alone() -> None:
    """Only the settings with the prefixes are read; problems of others, and those with others, do not matter."""
    environ = {"KAFKA_LINGER_MS": "5", "KAFKA_BATCH_BYTES": "2048", "BRIDGE_BUFFER_BYTES": "1024", "ARIES_DIALECT": "x"}
    settings = load_only({**environ, "SCHEMA_REGISTRY_USERNAME": "me"}, "KAFKA_LINGER_", "KAFKA_BATCH_", "ARIES_WS_")
    assert (settings.kafka_linger_ms, settings.kafka_batch_bytes, settings.aries_dialect) == (5, 2048, "auto")
    with pytest.raises(SettingsError) as caught:
        load_only({**environ, "SCHEMA_REGISTRY_USERNAME": "me"}, "KAFKA_", "SCHEMA_REGISTRY_")
    assert [problem.partition(" ")[0] for problem in caught.value.problems] == [
        "KAFKA_BOOTSTRAP_SERVERS",
        "SCHEMA_REGISTRY_USERNAME",
        "SCHEMA_REGISTRY_USERNAME",
    ]


def test_settings_made_from_values_ignore_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``Settings(...)`` uses its arguments and defaults only."""
    monkeypatch.setenv("ARIES_SYMBOLS", "[not json")
    monkeypatch.setenv("BRIDGE_INSTANCE", "from-process")
    assert Settings(bridge_instance="mine", aries_symbols=("A",)).bridge_instance == "mine"


def test_settings_are_frozen() -> None:
    """A setting cannot be changed after loading."""
    with pytest.raises(ValidationError):
        load(REQUIRED).bridge_instance = "other"


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_value_is_unset(empty: str) -> None:
    """An empty variable counts as unset, for values, required settings and secrets alike."""
    assert load({**REQUIRED, "KAFKA_LINGER_MS": empty, "ARIES_API_KEY": empty}).kafka_linger_ms == 2
    assert "KAFKA_BOOTSTRAP_SERVERS is not set" in problems({"KAFKA_BOOTSTRAP_SERVERS": empty})[0]
    assert len(problems({"ARIES_ACCESS_TOKEN": empty})) == 1


@pytest.mark.parametrize(
    "text", ["AAPL,MSFT", " AAPL , MSFT,", "AAPL\nMSFT\n", '["AAPL","MSFT"]', ' [ "AAPL" , "MSFT" ] ']
)
def test_lists_take_csv_and_json(text: str) -> None:
    """Both notations are equivalent; white space and a trailing comma are ignored."""
    assert load({**REQUIRED, "ARIES_SYMBOLS": text}).aries_symbols == ("AAPL", "MSFT")


@pytest.mark.parametrize("text", ['["AAPL"', "[AAPL]", "[1]", '[["AAPL"]]', "[" * 100_000])
def test_a_list_of_invalid_json_is_a_problem(text: str) -> None:
    """A value that starts like JSON must be a JSON list of strings."""
    found = problems({"ARIES_SYMBOLS": text})
    assert len(found) == 1
    assert '["a","b"]' in found[0]
    assert len(found[0]) < 400


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ARIES_DIALECT", "Envelope", "envelope"),
        ("KAFKA_SECURITY_PROTOCOL", "plaintext", "PLAINTEXT"),
        ("KAFKA_COMPRESSION", "LZ4", "lz4"),
        ("BRIDGE_LOG_LEVEL", "debug", "DEBUG"),
        ("KAFKA_SSL_CHECK_HOSTNAME", "no", False),
        ("KAFKA_LINGER_MS", " 5 ", 5),
        ("ARIES_STALE_AFTER_SECONDS", "0", 0.0),
        ("BRIDGE_DRAIN_SECONDS", "0.25", 0.25),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:1, b:2 ,c", ("a:1", "b:2", "c")),
        ("KAFKA_BOOTSTRAP_SERVERS", "[::1]:9092,[fe80::1]:9093", ("[::1]:9092", "[fe80::1]:9093")),
        ("KAFKA_BOOTSTRAP_SERVERS", '["a:1","b:2"]', ("a:1", "b:2")),
    ],
)
def test_case_and_white_space_are_ignored(name: str, text: str, value: object) -> None:
    """The case of choices and surrounding white space are ignored; brokers may be IPv6 addresses."""
    assert getattr(load({**REQUIRED, name: text}), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ARIES_DIALECT", "morse", "should be 'auto', 'action' or 'envelope'"),
        ("ARIES_WS_URL", "https://api.aries.com", "starts with ws:// or wss://"),
        ("ARIES_WS_URL", "wss://", "starts with ws:// or wss://"),
        ("ARIES_WS_URL", "wss://host:99999/", "not a URL"),
        ("ARIES_WS_URL", "wss://ho st/", "starts with ws:// or wss://"),
        ("ARIES_WS_URL", "wss://host/#part", "RFC 6455"),
        ("ARIES_TOKEN_URL", "ftp://host", "starts with http:// or https://"),
        ("SCHEMA_REGISTRY_URL", "registry:8081", "starts with http:// or https://"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka://a:9092", "is not host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:0", "is not host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:70000", "is not host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:b", "is not host:port"),
        ("KAFKA_LINGER_MS", "2.5", "should be a whole number"),
        ("KAFKA_LINGER_MS", "-1", "greater than or equal to 0"),
        ("KAFKA_BATCH_BYTES", "10", "greater than or equal to 1024"),
        ("ARIES_PING_INTERVAL_SECONDS", "0", "greater than 0"),
        ("ARIES_PING_INTERVAL_SECONDS", "nan", "finite number"),
        ("ARIES_PONG_TIMEOUT_SECONDS", "inf", "finite number"),
        ("ARIES_MAX_FRAMES_PER_SECOND", "0", "greater than or equal to 1"),
        ("BRIDGE_DRAIN_SECONDS", "20s", "should be a number"),
        ("KAFKA_SSL_CHECK_HOSTNAME", "perhaps", "should be true or false"),
        ("KAFKA_TOPIC_PREFIX", "a b", "a Kafka topic has"),
        ("KAFKA_TOPIC_L2", "..", "a Kafka topic has"),
        ("BRIDGE_LOG_FORMAT", "xml", "should be 'json' or 'console'"),
        ("BRIDGE_INSTANCE", "x" * 250, "at most 249 characters"),
    ],
)
def test_an_invalid_value_is_reported_with_name_value_and_expectation(name: str, text: str, message: str) -> None:
    """One sentence names the setting, shows the value and says what it should be."""
    found = problems({name: text})
    assert len(found) == 1
    assert found[0].startswith(f"{name}={text!r}: ")
    assert message in found[0]


def test_a_url_does_not_show_its_password() -> None:
    """A URL with user or password is rejected, and the message shows neither."""
    for name in ("ARIES_WS_URL", "ARIES_TOKEN_URL", "SCHEMA_REGISTRY_URL"):
        scheme = "wss" if name == "ARIES_WS_URL" else "https"
        (problem,) = problems({name: f"{scheme}://user:hunter22@host/path?token=hunter22"})
        assert "hunter22" not in problem
        assert "a URL with user or password" in problem
    assert "hunter22" not in "".join(problems({"KAFKA_BOOTSTRAP_SERVERS": "sasl://me:hunter22@host:1"}))


SECRETS = [row.name for row in settings_table.table() if row.secret]


def test_the_secrets_of_the_contract_are_secrets() -> None:
    """Only these settings can also be set as ``<NAME>_FILE``."""
    assert set(SECRETS) == {
        "ARIES_ACCESS_TOKEN",
        "ARIES_CLIENT_SECRET",
        "ARIES_REFRESH_TOKEN",
        "ARIES_API_KEY",
        "KAFKA_SASL_PASSWORD",
        "KAFKA_OAUTH_CLIENT_SECRET",
        "SCHEMA_REGISTRY_PASSWORD",
        "SCHEMA_REGISTRY_BEARER_TOKEN",
        "SCHEMA_REGISTRY_OAUTH_CLIENT_SECRET",
        "SCHEMA_REGISTRY_KEY_PASSWORD",
        "KAFKA_OAUTH_CLIENT_ASSERTION",
        "KAFKA_OAUTH_TOKEN",
        "KAFKA_SSL_KEY_PASSWORD",
    }


@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_can_be_a_file(name: str, tmp_path: Path) -> None:
    """``<NAME>_FILE`` makes a secret that is read again from its file."""
    path = tmp_path / "secret"
    path.write_text("one\n")
    settings, _ = examine({f"{name}_FILE": f" {path} "})
    secret: Secret = getattr(settings, name.lower())
    assert (secret.name, secret.path, secret.reveal()) == (name, path, "one")
    path.write_text("two\n")
    assert secret.reveal() == "two"
    assert settings.secrets == (secret,)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_either_a_text_or_a_file(name: str, tmp_path: Path) -> None:
    """Setting both is a problem, and the message shows neither value."""
    path = tmp_path / "secret"
    path.write_text("hunter22")
    found = "\n".join(sentences({name: "hunter23", f"{name}_FILE": str(path)}))
    assert f"{name}: set together with {name}_FILE" in found
    assert "hunter2" not in found


@pytest.mark.parametrize("content", [None, b"", b"hunter22\xff"])
def test_an_unreadable_secret_file_is_one_problem(tmp_path: Path, content: bytes | None) -> None:
    """An invalid file is reported once, not also as a missing credential, and without its content."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    found = problems({"ARIES_ACCESS_TOKEN": "", "ARIES_ACCESS_TOKEN_FILE": str(path)})
    assert len(found) == 1
    assert str(path) in found[0]
    assert "hunter22" not in found[0]


def test_nothing_printed_shows_a_secret() -> None:
    """Neither settings nor problems show the value of a secret, whatever else is wrong."""
    environ = dict.fromkeys(SECRETS, "hunter22") | {"ARIES_DIALECT": "x", "KAFKA_LINGER_MS": "x"}
    settings, found = examine(environ)
    for shown in (
        repr(settings),
        str(settings),
        *map(str, found),
        repr(SettingsError(tuple(map(str, found)))),
        "\n".join(settings_table.render(settings)),
    ):
        assert "hunter22" not in shown


@given(st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), st.text(st.characters(exclude_characters="\0"))))
def test_any_text_can_be_examined(texts: dict[str, str]) -> None:
    """Any environment results in settings and a list of problems."""
    settings, found = examine({name.upper(): text for name, text in texts.items()})
    assert isinstance(settings, Settings)
    assert all(isinstance(problem, Problem) for problem in found)


@pytest.mark.parametrize(
    ("dialect", "url", "expected"),
    [
        ("auto", "wss://api.aries.com/v1/market/ws", "envelope"),
        ("auto", "wss://api.aries.com/v1/market/ws/?x=1", "envelope"),
        ("auto", "wss://api.aries.com/v1/marketdata/ws", "action"),
        ("auto", "ws://localhost:1", "action"),
        ("action", "wss://api.aries.com/v1/market/ws", "action"),
        ("envelope", "wss://api.aries.com/v1/marketdata/ws", "envelope"),
    ],
)
def test_the_dialect_follows_the_path_unless_it_is_set(dialect: str, url: str, expected: str) -> None:
    """``auto`` depends on the URL's path only."""
    assert load({**REQUIRED, "ARIES_DIALECT": dialect, "ARIES_WS_URL": url}).dialect == expected


def test_the_names_of_a_group() -> None:
    """Group and consumer group are named after the prefix of the topics unless BRIDGE_GROUP names them."""
    alone = load({**REQUIRED, "KAFKA_TOPIC_PREFIX": "p"})
    assert (alone.is_grouped, alone.group, alone.shards_topic) == (False, None, "p.shards")
    grouped = load({**REQUIRED, "KAFKA_TOPIC_PREFIX": "p", "BRIDGE_SHARD": "group"})
    assert (grouped.is_grouped, grouped.shard, grouped.group, grouped.group_id) == (True, 0, "p", "p.shards")
    named = {"BRIDGE_GROUP": "team/us", "KAFKA_TOPIC_SHARDS": "marks"}
    renamed = load({**REQUIRED, "BRIDGE_SHARD": "group", **named})
    assert (renamed.group, renamed.group_id, renamed.shards_topic) == ("team/us", "team/us.shards", "marks")
    assert load({**REQUIRED, "BRIDGE_GROUP": "g"}).group == "g"
    assert set(grouped.used_topics) - set(grouped.topics.values()) == {"p.shards"}
    assert set(alone.used_topics) == set(alone.topics.values())


def test_topics_have_the_prefix_unless_they_are_renamed() -> None:
    """Each topic has a setting for another name."""
    assert load({**REQUIRED, "KAFKA_TOPIC_PREFIX": "p"}).topics == {topic: f"p.{topic}" for topic in Topic}
    renamed: dict[str, Any] = {f"KAFKA_TOPIC_{topic.setting}": f"my-{topic}" for topic in Topic}
    assert load({**REQUIRED, **renamed}).topics == {topic: f"my-{topic}" for topic in Topic}


def test_the_plan_comes_from_symbols_and_subscriptions(tmp_path: Path) -> None:
    """The plan has the symbols of the list, the JSON and the file; each alone is enough."""
    assert list(load({**REQUIRED, "ARIES_SUBSCRIPTIONS": '["MSFT"]'}).plan()) == ["AAPL", "MSFT"]
    path = tmp_path / "subscriptions"
    path.write_text("TSLA # a comment\nNVDA,AMD\n")
    alone = {**REQUIRED, "ARIES_SYMBOLS": "", "ARIES_SUBSCRIPTIONS_FILE": str(path)}
    assert list(load(alone).plan()) == ["TSLA", "NVDA", "AMD"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ARIES_SYMBOL", "ARIES_SYMBOLS"),
        ("aries_symbols", "ARIES_SYMBOLS"),
        ("SYMBOLS", "ARIES_SYMBOLS"),
        ("ARIES_TICKERS", "ARIES_SYMBOLS"),
        ("ARIES_SUBSCRIPTION_FILE", "ARIES_SUBSCRIPTIONS_FILE"),
        ("KAFKA_BOOTSTRAP_SERVER", "KAFKA_BOOTSTRAP_SERVERS"),
        ("KAFKA_BROKERS", "KAFKA_BOOTSTRAP_SERVERS"),
        ("BOOTSTRAP_SERVERS", "KAFKA_BOOTSTRAP_SERVERS"),
        ("ARIES_TOKEN", "ARIES_ACCESS_TOKEN"),
        ("ARIES_ACCESS_TOKENFILE", "ARIES_ACCESS_TOKEN_FILE"),
    ],
)
def test_a_missing_setting_and_a_variable_that_is_meant_for_it(name: str, meant: str) -> None:
    """The problem of a missing setting names the variable with a similar, or another usual, name, not its value."""
    found = sentences({name: "hunter22"})
    assert len(found) == 3
    (problem,) = [problem for problem in found if f"{name} is not a setting: did you mean {meant}?" in problem]
    assert "hunter22" not in problem


@pytest.mark.parametrize(
    ("name", "meant", "environ"),
    [
        ("KAFKA_USERNAME", "KAFKA_SASL_USERNAME", {"KAFKA_SASL_PASSWORD": "s3cret"}),
        ("KAFKA_SASL_PASSWORDFILE", "KAFKA_SASL_PASSWORD_FILE", {"KAFKA_SASL_USERNAME": "me"}),
    ],
)
def test_a_missing_part_of_a_login_and_a_variable_that_is_meant_for_it(
    name: str, meant: str, environ: dict[str, str]
) -> None:
    """What belongs together has the hint, too."""
    login = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "PLAIN", **environ}
    (problem,) = problems({**login, name: "x"})
    assert f"{name} is not a setting: did you mean {meant}?" in problem


def test_a_setting_that_is_set_needs_no_hint() -> None:
    """If the setting itself is set, a variable with a similar name is not what is wrong with it."""
    (problem,) = problems({"KAFKA_BOOTSTRAP_SERVERS": "a:b", "KAFKA_BROKERS": "kafka:9092"})
    assert "did you mean" not in problem


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ARIES_WS_URL", '"wss://api.aries.com/v1/marketdata/ws"'),
        ("KAFKA_BOOTSTRAP_SERVERS", "'kafka-1:9092,kafka-2:9092'"),
        ("ARIES_SYMBOLS", '"AAPL,MSFT"'),
        ("ARIES_SUBSCRIPTIONS", '\'[{"symbol":"AAPL"}]\''),
        ("KAFKA_LINGER_MS", '"5"'),
        ("BRIDGE_LOG_LEVEL", "'INFO'"),
        ("KAFKA_SSL_CAFILE", '"/etc/ca.pem"'),
        ("ARIES_API_KEY_FILE", '"/run/api-key"'),
    ],
)
def test_an_invalid_value_in_quotes(name: str, text: str) -> None:
    """The problem says that the quotes are part of the value."""
    environ = {"KAFKA_SECURITY_PROTOCOL": "SSL", name: text}
    hint = f"{name} is in quotes, which are part of the value: remove them (`docker run --env-file` keeps quotes)."
    assert len([problem for problem in problems(environ) if hint in problem]) == 1
