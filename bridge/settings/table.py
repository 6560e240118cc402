"""Show every setting: the single source of ``aries-bridge settings`` and of the README's table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args, get_origin

from bridge.settings import Settings
from bridge.settings.field_types import Word, is_secret, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Row:
    """Describe one setting; ``default`` is written as in the environment, empty where there is none."""

    name: str
    type: str
    default: str
    meaning: str
    secret: bool
    required: bool

    @property
    def field(self) -> str:
        """Return the setting's field of Settings."""
        return self.name.lower()


def table() -> list[Row]:
    """Return a row for each setting, in the order in which they are explained."""
    return [_row(name, field) for name, field in Settings.model_fields.items()]


def _row(name: str, field: FieldInfo) -> Row:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    default = str(extra.get("default", "")) or written(field.default)
    return Row(
        name.upper(),
        _type(field),
        default,
        field.description or "",
        is_secret(field),
        bool(extra.get("required")),
    )


def _type(field: FieldInfo) -> str:
    words = [word.text for word in field.metadata if isinstance(word, Word)]
    return words[0] if words else ", ".join(map(str, _choices(field.annotation)))


def _choices(annotation: object) -> Iterator[object]:
    for part in get_args(annotation):
        if get_origin(annotation) is Literal:
            yield part
        else:
            yield from _choices(part)


def written(value: object) -> str:
    """Return a value as one would write it into the environment; a secret, or a URL's user, is not shown."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.15g}"
    return "" if value is None else shown(str(value))


def values(settings: Settings) -> dict[str, str]:
    """Return the value of each setting by name, as :func:`written`."""
    return {row.name: written(getattr(settings, row.field)) for row in table()}


def render(settings: Settings | None = None) -> Iterator[str]:
    """Yield plain lines for each setting; without settings, with the defaults."""
    rows = table()
    width = max(len(row.name) for row in rows)
    for row in rows:
        yield f"{row.name:<{width}}  {value_in(row, settings)}"
        yield f"{'':<{width}}    {row.type}: {row.meaning}"


def is_set(row: Row, settings: Settings | None) -> bool:
    """Return whether the value was given rather than taken from the default."""
    return settings is not None and row.field in settings.model_fields_set


def value_in(row: Row, settings: Settings | None) -> str:
    """Return the value for people, saying where it is not one that was given."""
    if settings is not None and is_set(row, settings):
        return written(getattr(settings, row.field))
    value = (written(getattr(settings, row.field)) if settings else "") or row.default
    return f"{value} (default)" if value else "(required)" if row.required else "(unset)"


def markdown() -> str:
    """Return the table for the README."""
    lines = ["| name | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*lines, *(_markdown_line(row) for row in table())])


def _markdown_line(row: Row) -> str:
    name = f"`{row.name}`" + (f", `{row.name}_FILE`" if row.secret else "")
    default = "required" if row.required else f"`{row.default}`" if row.default else ""
    return f"| {name} | {row.type} | {default} | {_escaped(row.meaning)} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
