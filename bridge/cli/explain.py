"""``aries-bridge explain``: show what the bridge makes of lines of the feed."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bridge.cli.output import discard
from bridge.cli.terminal import note
from bridge.explain.explainer import Explainer
from bridge.explain.sources import STANDARD_INPUT, opened
from bridge.kafka.topic_specification import DEFAULT_PARTITIONS
from bridge.observability import log_config
from bridge.settings import load_only

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.capture.reader import DialectName
    from bridge.explain.explanation import Explanation
    from bridge.explain.sources import Found, Source


def explain(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="Lines as Aries sends them, or captures; - or nothing is standard input.",
            show_default=False,
        ),
    ] = None,
    *,
    dialect: Annotated[
        Literal["auto", "action", "envelope"],
        typer.Option(help="Dialect of the lines; auto: what a capture says, or the first line that shows it."),
    ] = "auto",
    partitions: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Partitions of each topic that has symbols as keys.")
    ] = DEFAULT_PARTITIONS,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per line; decimals are strings, exact to the last digit.")
    ] = False,
) -> None:
    """Show the records that lines become, or why they become none.

    For each line: topic, partition, key and record; or the kind of a line that
    carries no record; or the dead letter with its error. Below that, values that
    could not be read, and fields that no record has. Each symbol counts as
    subscribed to all events.

    The code is that of the bridge. Neither settings nor a broker are needed;
    KAFKA_TOPIC_* and ARIES_LEVEL2 count if they are set. To explain dead letters
    again: aries-bridge tail dlq --json | jq -r .record.raw | aries-bridge explain

    Exit codes: 0 all was read, the output was closed, or Ctrl-C; 1 a file
    cannot be read, or is damaged; 2 wrong options.
    """
    log_config.configure("CRITICAL", "console")  # what would be logged is shown as an explanation
    settings = load_only(os.environ, "KAFKA_TOPIC_", "ARIES_LEVEL2")
    inputs = files or [STANDARD_INPUT]
    report = _Report(
        dialect,
        lambda chosen: Explainer(chosen, settings.topics, partitions, is_full=settings.is_full),
        as_json=as_json,
        shows_names=len(inputs) > 1,
    )
    try:
        for name in inputs:
            with opened(name) as source:
                report.add(source, name)
    except BrokenPipeError:  # as by `| head`
        discard(sys.stdout, sys.stderr)
        return
    except KeyboardInterrupt:
        note("interrupted.")
    report.note_summary()


class _Report:
    """The explanations of all files, as they are printed."""

    def __init__(
        self,
        dialect: Literal["auto", "action", "envelope"],
        new_explainer: Callable[[DialectName], Explainer],
        *,
        as_json: bool,
        shows_names: bool,
    ) -> None:
        self._dialect = dialect
        self._new_explainer = new_explainer
        self._as_json = as_json
        self._shows_names = shows_names
        self._explainers: dict[DialectName, Explainer] = {}
        self._results: Counter[str] = Counter()

    def add(self, source: Source, name: str) -> None:
        """Print what becomes of the lines of a file."""
        if name == STANDARD_INPUT and sys.stdin.isatty():
            note("reading lines from the terminal; Ctrl-D ends.")
        dialect: DialectName | None = None if self._dialect == "auto" else self._dialect
        for found in source.found():
            dialect = dialect or found.dialect
            # Before a line shows the dialect, any will do: both make the same of these.
            explainer = self._explainer(dialect or "envelope")
            if found.frame is None:
                explainer.reconnect()
                continue
            for line, explanation in enumerate(explainer.explain(found.frame, found.time_us), 1):
                self._results[explanation.result] += 1
                self._print(explanation, name, found, line if source.is_capture else None)

    def note_summary(self) -> None:
        """Print how many lines became what, beside the output."""
        published, filtered, dead = (self._results[result] for result in ("published", "filtered", "dead_letter"))
        outcomes = f"{published:,} published, {filtered:,} without a record, {dead:,} dead letters"
        note(f"{self._results.total():,} lines: {outcomes}.")

    def _explainer(self, dialect: DialectName) -> Explainer:
        if dialect not in self._explainers:
            self._explainers[dialect] = self._new_explainer(dialect)
        return self._explainers[dialect]

    def _print(self, explanation: Explanation, name: str, found: Found, line: int | None) -> None:
        if self._as_json:
            place = {"line": found.number} if line is None else {"frame": found.number, "line": line}
            _write([explanation.json(file=name, **place)])
        else:
            number = f"{found.number}" if line is None else f"{found.number}.{line}"
            where = f"{name}:{number}" if self._shows_names else number
            _write(f"{where} {text}" for text in explanation.lines())


def _write(lines: Iterable[str]) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201 - the output of the command
