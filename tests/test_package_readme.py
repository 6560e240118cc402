"""The package's README: its map of the folder and its table of log events are true."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from bridge import log_events
from tests.support.paths import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

README: Final = (PACKAGE / "README.md").read_text(encoding="utf-8")
LEVELS: Final = ("debug", "info", "warning", "error", "critical", "exception")


@dataclass(frozen=True, order=True, slots=True)
class Event:
    """The constant parts of a log line: its message, level, logger and field names."""

    message: str
    level: str
    logger: str
    fields: tuple[str, ...]

    def __str__(self) -> str:
        fields = ", ".join(f"`{field}`" for field in self.fields)
        return f"| `{self.message}` | {self.level} | `{self.logger}` | {fields} | when? |"


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its header."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def documented() -> list[Event]:
    """Return the events of the README's table."""
    events = []
    for message, level, logger, fields, when in rows("Logs"):
        assert when
        assert when != "when?"
        events.append(Event(message.strip("`"), level, logger.strip("`"), tuple(re.findall(r"`(\w+)`", fields))))
    return events


def logged(source: str, module: str = "") -> list[Event]:
    """Return the events that a module can log."""
    tree = ast.parse(source)
    loggers = {name: value for name, value in _assignments(tree) if _is_logger(value)}
    if not loggers:
        return []
    assert list(loggers) == ["log"], "a logger is called log, and a module has one"
    name = ast.unparse(loggers["log"]).partition("(")[2].strip("')")
    reports = {name: levels for name, value in _assignments(tree) if (levels := _levels(value, {}))}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    logger = module if name == "__name__" else name
    return [event for call in calls for event in _events(call, _levels(call.func, reports), logger)]


def _assignments(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value


def _is_logger(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) in (
        "structlog.get_logger",
        "structlog.stdlib.get_logger",
    )


def _levels(function: ast.expr, reports: dict[str, list[str]]) -> list[str]:
    """Return the levels at which a function logs: one, or one for each side of a choice; none if it is another."""
    match function:
        case ast.Attribute(value=ast.Name(id="log"), attr=level) if level in LEVELS:
            return [level]
        case ast.IfExp(body=body, orelse=orelse):
            return _levels(body, reports) + _levels(orelse, reports)
        case ast.Name(id=name):
            return reports.get(name, [])
    return []


def _events(call: ast.Call, levels: list[str], logger: str) -> Iterator[Event]:
    if not levels:
        return
    [message] = call.args
    messages = [message.body, message.orelse] if isinstance(message, ast.IfExp) else [message]
    fields = tuple(keyword.arg or "**" for keyword in call.keywords)
    paired = zip(messages, levels, strict=True) if len(messages) > 1 else [(messages[0], " or ".join(levels))]
    for message, level in paired:
        yield Event(_text(message, call), level, logger, fields)


def _text(message: ast.expr, call: ast.Call) -> str:
    match message:
        case ast.Attribute(value=ast.Name(id="log_events"), attr=name):
            return str(getattr(log_events, name))
        case _:
            raise AssertionError(f"a message is one of bridge.log_events: {ast.unparse(call)}")


def test_the_map_names_what_is_there() -> None:
    """Each module and folder of the package has its place in the map, and nothing else has."""
    named = [name for where, _ in rows("Where things are") for name in re.findall(r"`([\w./]+)`", where)]
    folders = {f"{init.parent.name}/" for init in PACKAGE.glob("*/__init__.py")}
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    assert sorted(named) == sorted(folders | modules), "each has one place in the map of bridge/README.md"


def test_what_the_readme_names_exists() -> None:
    """A file that the text points to is there: in the package, or in one of its folders."""
    names = set(re.findall(r"`([\w/]+\.py)`", README))
    assert not [name for name in names if not (PACKAGE / name).exists() and not list(PACKAGE.rglob(f"*/{name}"))]


def test_the_table_has_every_log_event() -> None:
    """Message, level, logger and fields of each event are as documented; a new one gets a row that says when."""
    found = [
        event
        for path in PACKAGE.rglob("*.py")
        for event in logged(path.read_text(encoding="utf-8"), ".".join(path.relative_to(PACKAGE.parent).parts)[:-3])
    ]
    assert len(found) > 25
    table = set(documented())
    missing = "\n".join(map(str, sorted(set(found) - table)))
    assert not missing, f"these rows are missing in bridge/README.md (say when each comes):\n{missing}"
    gone = "\n".join(map(str, sorted(table - set(found))))
    assert not gone, f"nothing logs this any more; take it out of bridge/README.md:\n{gone}"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("log.info(log_events.STARTING, port=1)", [Event("starting", "info", "x", ("port",))]),
        (
            "(log.error if bad else log.info)(log_events.STOPPED if bad else log_events.STARTING)",
            [("stopped", "error"), ("starting", "info")],
        ),
        ("report = log.error if bad else log.info\nreport(log_events.STOPPED)", [("stopped", "error or info")]),
        ("other.info('not ours')", []),
    ],
)
def test_events_are_found_in_every_form_of_a_call(code: str, expected: list[Event | tuple[str, str]]) -> None:
    """The test itself sees a plain call, a choice of levels, and a level chosen before."""
    found = logged(f"log = structlog.get_logger('x')\n{code}")
    assert found == [one if isinstance(one, Event) else Event(*one, "x", ()) for one in expected]


@pytest.mark.parametrize("message", ["f'port {port}'", "'port'"])
def test_a_message_that_is_no_constant_of_log_events_is_found(message: str) -> None:
    """Variable parts belong into fields, and each text is defined once."""
    with pytest.raises(AssertionError, match="log_events"):
        logged(f"log = structlog.get_logger('x')\nlog.info({message})")
