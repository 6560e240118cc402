"""``aries-bridge settings``: show every setting with its value, and all problems."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bridge.errors import SettingsError
from bridge.settings import Settings, examine
from bridge.settings import table as settings_table
from bridge.settings.fields import names
from bridge.settings.warnings import warnings


def settings_command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the README's table: no values.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 2 if a setting is invalid or missing.")] = False,
) -> None:
    """Show every setting: name, type, default, meaning and current value. Secrets are not shown."""
    settings, problems = examine()
    if as_markdown:
        print(settings_table.markdown())  # noqa: T201 - the command's output
    elif as_json:
        print(as_json_text(settings))  # noqa: T201 - the command's output
    elif sys.stdout.isatty():
        Console().print(rich_table(settings))
    else:
        print("\n".join(settings_table.render(settings)))  # noqa: T201 - the command's output
    for warning in warnings(settings):
        print(f"aries-bridge: warning: {warning}", file=sys.stderr)  # noqa: T201 - the command's output
    if problems:
        _report(SettingsError(tuple(map(str, problems))), check=check)


def _report(error: SettingsError, *, check: bool) -> None:
    """Raise the error if ``check``, else print it; without any setting, the user only reads the documentation."""
    if check:
        raise error
    if any(os.environ.get(name) for name in names()):
        print(f"aries-bridge: {error}", file=sys.stderr)  # noqa: T201 - the command's output


def as_json_text(settings: Settings) -> str:
    """Return the settings as a JSON list of objects."""
    rows = [
        {
            "name": row.name,
            "type": row.type,
            "default": row.default or None,
            "value": row.value or None,
            "set": row.is_set,
            "secret": row.secret,
            "required": row.required,
            "meaning": row.meaning,
        }
        for row in settings_table.table(settings)
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False)


def rich_table(settings: Settings) -> Table:
    """Return the settings as a table for terminals."""
    table = Table("name", "value", "type", "meaning", title="Settings (environment)", expand=True)
    for row in settings_table.table(settings):
        value = Text(row.displayed_value, style="bold" if row.is_set else "dim", overflow="fold")
        table.add_row(Text(row.name, overflow="fold"), value, Text(row.type), Text(row.meaning))
    return table
