"""Keep the table of values in the chart's README, and its list of settings, equal to values.yaml and its schema.

``python -m tests.programs.docs.chart_values --write`` puts it in; ``--check`` (the default) only checks it.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tests.helm.chart import CHART, VALUES
from tests.support import generated as generated_part
from tests.support.generated import with_part

if TYPE_CHECKING:
    from collections.abc import Iterator

    Json = dict[str, Any]
    Comments = dict[tuple[str, ...], str]

README = CHART / "README.md"
SCHEMA = CHART / "values.schema.json"
#: For `aries-bridge check` in the chart's pods: the value of each setting.
SETTINGS = CHART / "setting-values.json"
BEGIN = "<!-- values:begin -->\n"
END = "<!-- values:end -->"
_KEY = re.compile(r"(?P<indent> *)(?P<name>[\w-]+):(?P<rest>.*)")
_SETTING = re.compile(r" \(`(?P<name>(ARIES|KAFKA|SCHEMA_REGISTRY|BRIDGE|AWS)_[A-Z0-9_]+)`\)")


@dataclass(frozen=True, slots=True)
class Value:
    """Describe one value of the chart; ``setting`` is the program's, empty where it has none."""

    path: tuple[str, ...]
    comment: str
    default: Any
    schema: Json

    @property
    def name(self) -> str:
        """Return the path as `--set` takes it."""
        return ".".join(self.path)

    @property
    def setting(self) -> str:
        """Return the setting of the program that it becomes."""
        found = _SETTING.search(self.comment)
        return found["name"] if found else ""

    @property
    def is_section(self) -> bool:
        """Return whether it only holds other values."""
        known = self.schema.get("properties", {})
        return isinstance(self.default, dict) and bool(known) and self.default.keys() == known.keys()


def values() -> list[Value]:
    """Return every value and section in the order of values.yaml."""
    schema: Json = json.loads(SCHEMA.read_text(encoding="utf-8"))
    defaults: Json = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    return list(_walk((), defaults, schema, dict(_comments())))


def _walk(path: tuple[str, ...], defaults: Json, schema: Json, comments: Comments) -> Iterator[Value]:
    for name, default in defaults.items():
        here = (*path, name)
        value = Value(here, comments.get(here, ""), default, schema["properties"][name])
        yield value
        if value.is_section:
            yield from _walk(here, default, value.schema, comments)


def _comments() -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each key's path with the comment right above it."""
    above: list[str] = []
    path: list[str] = []
    for line in VALUES.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("# "):
            above.append(line.lstrip()[2:])
        elif key := _KEY.fullmatch(line):
            path[len(key["indent"]) // 2 :] = [key["name"]]
            yield tuple(path), " ".join(above)
            above = []
        else:
            above = []


def table() -> str:
    """Return the README's tables, one for each section at the top."""
    rows: dict[str, list[str]] = {"": []}
    headings: dict[str, str] = {}
    for value in values():
        top, nested = value.path[0], len(value.path) > 1
        if not value.is_section:
            rows.setdefault(top if nested else "", []).append(_row(value))
        elif not nested:
            headings[top] = value.comment
    return "\n".join(_tables(rows, headings))


def _tables(rows: dict[str, list[str]], headings: dict[str, str]) -> Iterator[str]:
    for section, lines in rows.items():
        yield f"### `{section}`\n\n{headings[section]}\n" if section else "### At the top\n"
        yield "| value | type | default | meaning |\n|---|---|---|---|"
        yield from lines
        yield ""


def _row(value: Value) -> str:
    default = json.dumps(value.default, ensure_ascii=False)
    shown = "" if value.default in ("", None) or default in ("{}", "[]") else f"`{default}`"
    cells = (f"`{value.name}`", type_of(value.schema), shown, value.comment)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def type_of(schema: Json) -> str:
    """Return a schema's type for people."""
    if "enum" in schema:
        return ", ".join(f"`{choice}`" if choice else "empty" for choice in schema["enum"])
    if "$ref" in schema:
        return "map of texts"
    types = schema.get("type", "")
    words = {"string": "text", "integer": "whole number", "array": "list", "object": "map", "boolean": "true or false"}
    names = [words.get(name, name) for name in ([types] if isinstance(types, str) else types) if name != "null"]
    return " or ".join(names) + _range(schema)


def _range(schema: Json) -> str:
    if "maximum" not in schema:
        return ""
    least = f"{schema['minimum']} to" if "minimum" in schema else f"above {schema['exclusiveMinimum']}, up to"
    return f", {least} {schema['maximum']}"


def generated(readme: str) -> str:
    """Return the README with the tables as they are now."""
    return with_part(README, readme, BEGIN, table(), END)


def setting_values(_: str = "") -> str:
    """Return the value of each setting, as JSON."""
    return json.dumps({value.setting: value.name for value in values() if value.setting}, indent=2) + "\n"


def main(arguments: list[str] | None = None) -> str | None:
    """Write or check the README and the list of settings; return what is wrong with them."""
    module = "tests.programs.docs.chart_values"
    problems = [
        generated_part.main(module, path, content, arguments)
        for path, content in ((README, generated), (SETTINGS, setting_values))
    ]
    return "\n".join(filter(None, problems)) or None


if __name__ == "__main__":
    sys.exit(main())
