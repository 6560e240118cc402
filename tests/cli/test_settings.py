"""``aries-bridge settings``, for users and scripts."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner, Result

from bridge.cli.settings import rich_table, settings_command
from bridge.errors import SettingsError
from bridge.settings import load
from bridge.settings import table as settings_table
from tests.settings.test_environment import REQUIRED

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("ARIES_", "KAFKA_", "SCHEMA_REGISTRY_", "BRIDGE_"))]:
        monkeypatch.delenv(name)


def run(*arguments: str, environ: Mapping[str, str] | None = None) -> Result:
    """Run the command in an environment."""
    app = typer.Typer()
    app.command()(settings_command)
    return CliRunner().invoke(app, arguments, env=dict(environ or {}))


def test_it_works_without_any_environment() -> None:
    """Every setting is shown with its default, and missing settings are not reported."""
    result = run()
    assert result.exit_code == 0
    assert result.stderr == ""
    for row in settings_table.table():
        assert row.name in result.stdout


def test_values_are_shown_except_for_secrets() -> None:
    """Values of the environment are shown, secrets are not."""
    for arguments in ((), ("--json",), ("--markdown",)):
        result = run(*arguments, environ={**REQUIRED, "ARIES_ACCESS_TOKEN": "hunter22"})
        assert result.exit_code == 0
        assert "hunter22" not in result.output
    assert "***" in run(environ=REQUIRED).stdout


def test_json_is_for_programs() -> None:
    """The JSON has one object per setting, with separate value and default."""
    rows = {row["name"]: row for row in json.loads(run("--json", environ=REQUIRED).stdout)}
    assert set(rows) == {row.name for row in settings_table.table()}
    assert rows["ARIES_SYMBOLS"]["value"] == "AAPL"
    assert rows["ARIES_SYMBOLS"]["set"] is True
    assert rows["ARIES_SYMBOLS"]["required"] is True
    assert rows["ARIES_ACCESS_TOKEN"]["value"] == "***"
    assert rows["KAFKA_LINGER_MS"] == {
        "name": "KAFKA_LINGER_MS",
        "type": "whole number",
        "default": "2",
        "value": "2",
        "set": False,
        "secret": False,
        "required": False,
        "meaning": "How far apart requests with records are at most, in milliseconds: half of it while they have more "
        "than two records each. A record that comes after a longer pause is sent at once.",
    }


def test_markdown_is_the_readmes_table() -> None:
    """``--markdown`` prints the README's table."""
    assert run("--markdown", environ=REQUIRED).stdout == settings_table.markdown() + "\n"


def test_problems_are_printed_to_standard_error() -> None:
    """The table is printed although there are problems; these and the warnings go to standard error."""
    result = run(environ={"ARIES_DIALECT": "morse", "ARIES_SYMBOL": "AAPL"})
    assert result.exit_code == 0
    assert "ARIES_DIALECT" in result.stdout
    assert "ARIES_DIALECT='morse'" in result.stderr
    assert "warning: ARIES_SYMBOL is not a setting" in result.stderr


def test_check_fails_if_there_are_problems() -> None:
    """With ``--check``, the command fails with the error that `run` would raise."""
    assert run("--check", environ=REQUIRED).exit_code == 0
    result = run("--check")
    assert isinstance(result.exception, SettingsError)
    assert len(result.exception.problems) == 3
    assert "KAFKA_BOOTSTRAP_SERVERS" in result.stdout


def test_the_table_for_terminals_has_every_setting() -> None:
    """On a terminal, the same rows are printed as a table."""
    assert rich_table(load(REQUIRED)).row_count == len(settings_table.table())
