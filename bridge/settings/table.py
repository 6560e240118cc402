"""The table of all settings, for ``aries-bridge settings`` and the README."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from inspect import getsource
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.secrets.secret import Secret
from bridge.settings import fields
from bridge.settings.field_types import TypeName, is_secret, redact_url, type_parts
from bridge.settings.fields import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo


_TYPE_NAMES: dict[type, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    tuple: "list",
    Path: "file",
    Secret: "secret",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A setting and its value; ``default`` and ``value`` are written as in the environment, empty if there is none."""

    name: str
    type: str
    default: str
    meaning: str
    secret: bool
    required: bool
    value: str
    is_set: bool

    @property
    def field(self) -> str:
        """Return the setting's field of Settings."""
        return self.name.lower()

    @property
    def displayed_value(self) -> str:
        """Return the value, marked if it is the default, unset or required."""
        value = self.value or self.default
        if self.is_set:
            return value
        return f"{value} (default)" if value else "(required)" if self.required else "(unset)"


def table(settings: Settings | None = None) -> list[Row]:
    """Return a row for each setting, in the order of the fields; without settings, the values are empty."""
    return [_row(name, field, settings) for name, field in Settings.model_fields.items()]


def _row(name: str, field: FieldInfo, settings: Settings | None) -> Row:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return Row(
        name=name.upper(),
        type=_type(field),
        default=str(extra.get("default", "")) or written(field.default),
        meaning=_docstrings().get(name, ""),
        secret=is_secret(field),
        required=bool(extra.get("required")),
        value=written(getattr(settings, name, None)),
        is_set=settings is not None and name in settings.model_fields_set,
    )


@cache
def _docstrings() -> dict[str, str]:
    """Return the docstring of each field; pydantic's ``use_attribute_docstrings`` would cost 30 ms at each start."""
    [cls] = (node for node in ast.parse(getsource(fields)).body if isinstance(node, ast.ClassDef))
    found = {}
    for field, doc in pairwise(cls.body):
        match field, doc:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


def _type(field: FieldInfo) -> str:
    parts = type_parts(field)
    names = [part.text for part in parts if isinstance(part, TypeName)]
    names += [_TYPE_NAMES[part] for part in parts if isinstance(part, type) and part in _TYPE_NAMES]
    return names[0] if names else ", ".join(part for part in parts if isinstance(part, str))


def written(value: object) -> str:
    """Return a value as written in the environment, with secrets and the credentials of URLs redacted."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.15g}"
    return "" if value is None else redact_url(str(value))


def render(settings: Settings | None = None) -> Iterator[str]:
    """Yield two plain lines for each setting."""
    rows = table(settings)
    width = max(len(row.name) for row in rows)
    for row in rows:
        yield f"{row.name:<{width}}  {row.displayed_value}"
        yield f"{'':<{width}}    {row.type}: {row.meaning}"


def markdown() -> str:
    """Return the README's table."""
    lines = ["| name | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*lines, *(_markdown_line(row) for row in table())])


def _markdown_line(row: Row) -> str:
    name = f"`{row.name}`" + (f", `{row.name}_FILE`" if row.secret else "")
    default = "required" if row.required else f"`{row.default}`" if row.default else ""
    return f"| {name} | {row.type} | {default} | {_escaped(row.meaning)} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
