"""Interpreters compared by the core loop: ``python -m tests.programs.bench.interpreters PYTHON PYTHON…``.

Each needs the bridge's libraries (``pip install -r requirements.lock`` into a virtual environment of it).
"""

from __future__ import annotations

import json
import subprocess
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tests.programs.bench.rounds import Spread
from tests.support.paths import ROOT


def main(
    pythons: Annotated[list[str], typer.Argument(help="Interpreters; ratios are to the first.")],
    rounds: Annotated[int, typer.Option(help="Runs of each, in turn.", min=1)] = 7,
) -> None:
    """Run the core loop in each interpreter in turn, and print CPU time a line."""
    runs: dict[str, list[dict[str, Any]]] = {path: [] for path in pythons}
    for _ in range(rounds):
        for path in pythons:
            runs[path].append(_run(path))
    table = Table(title=f"From frames to batches: least CPU time of each run, {rounds} runs in turn, median (range)")
    for heading in ("interpreter", "µs a line", "of the first"):
        table.add_column(heading)
    first = [run["cpu_us"] for run in runs[pythons[0]]]
    for found in runs.values():
        own = [run["cpu_us"] for run in found]
        ratios = [mine / its for mine, its in zip(own, first, strict=True)]
        table.add_row(found[0]["python"], Spread.of(own).text(1), Spread.of(ratios).text(2))
    Console().print(table)


def _run(path: str) -> dict[str, Any]:
    command = [path, "-m", "tests.programs.bench.core_loop"]
    document: dict[str, Any] = json.loads(subprocess.check_output(command, cwd=ROOT))
    return document


if __name__ == "__main__":
    typer.run(main)
