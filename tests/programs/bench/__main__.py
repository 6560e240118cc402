"""``python -m tests.programs.bench``: compare the bridge with a simple implementation, and with its targets."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from bridge.serialization.schemas import INVALID_SCHEMA_ERRORS, parse_schema
from tests.programs.bench import machine, report
from tests.programs.bench.brokers import brokers
from tests.programs.bench.cases import CASES, QUIET_CASES, RATE_CASES, Case, QuietCase, RateCase
from tests.programs.bench.children import Cores, pinned
from tests.programs.bench.frames import build
from tests.programs.bench.growth import measure
from tests.programs.bench.results import Results
from tests.programs.bench.rounds import measured
from tests.programs.bench.sides import BRIDGE_TLS, LATENCIES
from tests.programs.bench.sides import beside as by_command
from tests.programs.bench.trial import Trials
from tests.programs.bench.verdicts import verdicts

if TYPE_CHECKING:
    from rich.status import Status

    from bridge.serialization.schemas import Schema

AnyCase = Case | RateCase | QuietCase
EVERY_CASE: tuple[AnyCase, ...] = (*CASES, *RATE_CASES, *QUIET_CASES)
PAIRS, PAIRS_OF_FULL = 3, 7
#: What the tables need, also where the output is no terminal.
WIDTH = 160


def main(
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be given again.")] = None,
    pairs: Annotated[int | None, typer.Option(help="Runs of each side; 3, or 7 with --full.", min=1)] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COMMAND",
            help="Measure another bridge in the same rounds: its command line, quoted; may be given again. "
            f"{LATENCIES} in it becomes the file for its latencies.",
        ),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures there, too.")] = None,
    kafka: Annotated[Literal["embedded", "real"], typer.Option(help="Where records go.")] = "embedded",
    *,
    beside_schemas: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            help="The Avro schemas (.avsc) of bridges beside ours, if they differ in the fields behind the header.",
        ),
    ] = None,
    tls: Annotated[
        bool, typer.Option("--tls", help="Measure the bridge over TLS on both sides beside it; needs --kafka real.")
    ] = False,
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
        raise typer.BadParameter(f"there are {', '.join(one.name for one in EVERY_CASE)}")
    if tls and kafka != "real":
        raise typer.BadParameter("the embedded broker has no TLS: add --kafka real")
    others = [*([BRIDGE_TLS] if tls else []), *map(by_command, beside or ())]
    pairs = pairs or (PAIRS_OF_FULL if full else PAIRS)
    facts = {**machine.facts(), "broker": kafka}
    cores = Cores.of_machine()
    results = Results()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        pinned(cores.others),
        brokers(kafka, cores) as publishing,
        console.status("starting") as status,
    ):
        trials = Trials(publishing, cores, Path(folder) / "runs", _further_schemas(beside_schemas))
        for one in chosen:
            note = partial(_note, status, one.name)
            note("the feed is made")
            feed = build(one.recipe)
            saved = feed.save(Path(folder) / "feed")
            if isinstance(one, Case):
                at_full_speed = partial(trials.full_speed, feed=feed, saved=saved)
                results.full_speed.append(measured(one, pairs, at_full_speed, note, sides=one.sides, beside=others))
            elif isinstance(one, RateCase):
                at_rate = partial(trials.at_rate, feed=feed, saved=saved, per_second=one.per_second)
                results.rates.append(measured(one, pairs, at_rate, note, sides=one.sides, beside=others))
            else:
                hardly = partial(trials.quiet, feed=feed, saved=saved, per_second=one.per_second, seconds=one.seconds)
                results.quiet.append(measured(one, pairs, hardly, note, sides=one.sides, beside=others))
    judged = verdicts(results)
    report.show(_wide(), facts, results, judged)
    if json_file is not None:
        json_file.write_text(json.dumps(report.document(facts, results, judged), indent=1), "utf-8")


def _further_schemas(folder: Path | None) -> list[Schema]:
    files = () if folder is None else sorted(folder.glob("*.avsc"))
    try:
        return [parse_schema(file.read_text("utf-8")) for file in files]
    except (*INVALID_SCHEMA_ERRORS, OSError) as error:
        raise typer.BadParameter(f"a schema in {folder} cannot be used: {error}") from error


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


def _chosen(names: list[str] | None, *, full: bool) -> list[AnyCase]:
    return [one for one in EVERY_CASE if (one.name in names if names else full or one.usual)]


def _note(status: Status, name: str, what: str) -> None:
    status.update(f"{name}: {what}")


if __name__ == "__main__":
    typer.run(main)
