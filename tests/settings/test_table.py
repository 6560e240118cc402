"""The table of settings, for the command and the README."""

from __future__ import annotations

from bridge.settings import Settings, load
from bridge.settings import table as settings_table
from tests.settings.test_environment import REQUIRED

ROWS = {row.name: row for row in settings_table.table()}


def test_every_setting_has_a_row_with_its_meaning() -> None:
    """All settings are in the table, each with type and meaning."""
    assert [row.field for row in ROWS.values()] == list(Settings.model_fields)
    for row in ROWS.values():
        assert row.type
        assert row.meaning.endswith(".")


def test_meanings_name_their_unit() -> None:
    """The unit of a number is part of its meaning, not only of its name."""
    for ending, unit in (("_SECONDS", "seconds"), ("_MS", "milliseconds"), ("_BYTES", "bytes")):
        rows = [row for name, row in ROWS.items() if name.endswith(ending)]
        assert rows
        assert all(unit in row.meaning for row in rows)


def test_defaults_are_written_as_in_the_environment() -> None:
    """Setting all settings to the defaults in the table changes nothing."""
    described = {"host name", *(row.default for row in ROWS.values() if row.default.startswith("<prefix>"))}
    defaults = {name: row.default for name, row in ROWS.items() if row.default and row.default not in described}
    assert defaults["ARIES_EVENTS"] == "quotes,trades,l2,timesales"
    assert defaults["ARIES_BACKOFF_MIN_SECONDS"] == "0.5"
    assert defaults["KAFKA_SSL_CHECK_HOSTNAME"] == "true"
    assert load({**defaults, **REQUIRED}) == load(REQUIRED)


def test_required_and_secret_settings_are_marked() -> None:
    """The required settings and the secrets are marked in their rows."""
    assert [name for name, row in ROWS.items() if row.required] == ["ARIES_SYMBOLS", "KAFKA_BOOTSTRAP_SERVERS"]
    assert ROWS["ARIES_ACCESS_TOKEN"].secret
    assert ROWS["ARIES_DIALECT"].type == "auto, action, envelope"
    assert ROWS["KAFKA_SASL_MECHANISM"].type == "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, AWS_MSK_IAM"


def test_values_are_shown_beside_their_names() -> None:
    """Values that are set are shown as they are, others are marked as default, unset or required."""
    settings = load({**REQUIRED, "ARIES_EVENTS": "quotes", "ARIES_WS_URL": "wss://host/x?token=hunter22"})
    lines = [*settings_table.render(settings)]
    shown = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if not line.startswith(" ")}
    assert shown["ARIES_EVENTS"] == "quotes"
    assert shown["ARIES_ACCESS_TOKEN"] == "***"
    assert shown["ARIES_WS_URL"] == "wss://host/x?***"
    assert shown["ARIES_API_KEY"] == "(unset)"
    assert shown["KAFKA_LINGER_MS"] == "2 (default)"
    assert shown["KAFKA_TOPIC_L2"] == "<prefix>.l2 (default)"
    assert any("milliseconds" in line for line in lines)


def test_without_settings_the_defaults_are_shown() -> None:
    """The table can be shown without an environment."""
    text = "\n".join(settings_table.render())
    assert "(required)" in text
    assert "host name (default)" in text


def test_the_markdown_has_one_row_per_setting() -> None:
    """Each row has four cells, whatever characters they contain."""
    lines = settings_table.markdown().splitlines()
    assert len(lines) == 2 + len(ROWS)
    assert {line.replace("\\|", "").count("|") for line in lines} == {5}
    assert "`KAFKA_SASL_PASSWORD`, `KAFKA_SASL_PASSWORD_FILE`" in settings_table.markdown()
