"""``python -m tests.programs.bench``: compare the bridge with a simple implementation, and with its targets."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from tests.programs.bench import machine, report
from tests.programs.bench.brokers import brokers
from tests.programs.bench.cases import CASES, RATE_CASES, Case, RateCase
from tests.programs.bench.children import Cores, pinned
from tests.programs.bench.frames import build
from tests.programs.bench.growth import measure
from tests.programs.bench.rounds import Rounds, measured
from tests.programs.bench.trial import Latency, Throughput, Trials
from tests.programs.bench.verdicts import verdicts

if TYPE_CHECKING:
    from rich.status import Status

PAIRS, PAIRS_OF_FULL = 3, 7
#: What the tables need, also where the output is no terminal.
WIDTH = 140


def main(
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be given again.")] = None,
    pairs: Annotated[int | None, typer.Option(help="Runs of each side; 3, or 7 with --full.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures there, too.")] = None,
    kafka: Annotated[Literal["embedded", "real"], typer.Option(help="Where records go.")] = "embedded",
    *,
    full: Annotated[bool, typer.Option("--full", help="Measure every case.")] = False,
    growth: Annotated[
        bool, typer.Option("--growth", help="Measure growth instead: symbols, partitions, time, start-up.")
    ] = False,
    growth_minutes: Annotated[float, typer.Option(help="How long growth over time is looked at.", min=0.5)] = 5,
) -> None:
    """Compare the bridge with a simple implementation."""
    console = Console(stderr=True)
    if growth:
        _measure_growth(console, growth_minutes, json_file)
        return
    chosen = _chosen(case, full=full)
    if not chosen:
        raise typer.BadParameter(f"there are {', '.join(one.name for one in (*CASES, *RATE_CASES))}")
    pairs = pairs or (PAIRS_OF_FULL if full else PAIRS)
    facts = {**machine.facts(), "broker": kafka}
    cores = Cores.of_machine()
    full_speed: list[Rounds[Case, Throughput]] = []
    rates: list[Rounds[RateCase, Latency]] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        pinned(cores.others),
        brokers(kafka, cores) as publishing,
        console.status("starting") as status,
    ):
        trials = Trials(publishing, cores, Path(folder) / "runs")
        for one in chosen:
            note = partial(_note, status, one.name)
            note("the feed is made")
            feed = build(one.recipe)
            saved = feed.save(Path(folder) / "feed")
            if isinstance(one, Case):
                at_full_speed = partial(trials.full_speed, feed=feed, saved=saved)
                full_speed.append(measured(one, pairs, at_full_speed, note, sides=one.sides))
            else:
                at_rate = partial(trials.at_rate, feed=feed, saved=saved, per_second=one.per_second)
                rates.append(measured(one, pairs, at_rate, note, sides=one.sides))
    judged = verdicts(full_speed, rates)
    report.show(_wide(), facts, full_speed, rates, judged)
    if json_file is not None:
        json_file.write_text(json.dumps(report.document(facts, full_speed, rates, judged), indent=1), "utf-8")


def _measure_growth(console: Console, minutes: float, json_file: Path | None) -> None:
    facts = machine.facts()
    with console.status("starting") as status:
        found = measure(Cores.of_machine(), minutes, status.update)
    report.show_growth(_wide(), facts, found)
    if json_file is not None:
        json_file.write_text(json.dumps({"machine": facts, "growth": found.document()}, indent=1), "utf-8")


def _wide() -> Console:
    console = Console()
    console.width = max(console.width, WIDTH)
    return console


def _chosen(names: list[str] | None, *, full: bool) -> list[Case | RateCase]:
    every: tuple[Case | RateCase, ...] = (*CASES, *RATE_CASES)
    return [one for one in every if (one.name in names if names else full or one.usual)]


def _note(status: Status, name: str, what: str) -> None:
    status.update(f"{name}: {what}")


if __name__ == "__main__":
    typer.run(main)
