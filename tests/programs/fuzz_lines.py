"""Fuzz the compiled step: ``python -m tests.programs.fuzz_lines --seconds 60 --sanitize``.

Lines of the simulator and of the golden captures are changed at random, and go both ways, with the compiled step and
without it, which must come to the same. ``--sanitize`` builds it with the sanitizers of addresses and of undefined
behaviour for this run alone, so that a read or write out of bounds ends it, too. Small allocations then come from the
system's allocator, where the sanitizer sees them. The seed that is printed repeats a run.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import structlog
import typer

from bridge.capture.file_format import EntryKind
from bridge.capture.reader import open_capture
from tests.programs.bench.frames import TRADING_DAY, Recipe, lines_of, symbols
from tests.programs.golden_captures import capture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.pipeline.compiled.ways import Both, DialectName

MODULE: Final = "bridge.pipeline.compiled._lines"
#: The environment variable with the path of the build for a run.
BUILD: Final = "FUZZED_BUILD"
SANITIZERS: Final = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
    "-g1",
    "-O1",
)
DIALECTS: Final[tuple[DialectName, ...]] = ("envelope", "action")
SYMBOLS: Final = (b"A", b"B")
#: Frames that go both ways before these are compared, and comparisons before everything starts again.
FRAMES: Final = 20
COMPARISONS: Final = 10
#: What is put into lines: delimiters, numbers near a limit, words with a meaning.
PIECES: Final = (
    *(
        b'"',
        b"\\",
        b",",
        b":",
        b"{",
        b"}",
        b"[",
        b"]",
        b" ",
        b"\n",
        b"\r",
        b"\0",
        b"\xff",
        b"\xc3\xa9",
        b"-",
        b".",
        b"e9",
    ),
    *(
        b"null",
        b"true",
        b'""',
        b"[]",
        b"{}",
        b"0",
        b"00",
        b"9" * 18,
        b"9" * 19,
        b"1" * 70,
        b"0." + b"1" * 9,
        b"-0",
        b"1e400",
    ),
    *(
        b'"symbol":"A"',
        b'"data":',
        b'"type":"quote"',
        b'"price":1',
        b'"N/A"',
        b'"1:2:3"',
        b"x" * 300,
        b"::::",
        b"isCancel",
    ),
)


def changed(line: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Return a line with a few bytes or pieces inserted, removed, replaced, or taken from another line."""
    data = bytearray(line)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        place = rng.randrange(len(data) + 1)
        end = min(len(data), place + rng.choice((1, 1, 2, 5, 30)))
        match rng.randrange(7):
            case 0:
                data[place:place] = rng.choice(PIECES)
            case 1:
                data[place:end] = rng.choice(PIECES)
            case 2:
                del data[place:end]
            case 3:
                data[place:end] = bytes(rng.randrange(256) for _ in range(end - place))
            case 4:
                data[place:end] = data[place:end] * 2
            case 5:
                other = rng.choice(others)
                start = rng.randrange(len(other))
                data[place:place] = other[start : start + rng.randrange(40)]
            case _:
                for at in range(place, end):
                    data[at] = rng.choice(b"0123456789.-") if data[at] in b"0123456789" else data[at]
    return bytes(data)


def usual_lines(dialect: DialectName, rng: random.Random) -> list[bytes]:
    """Return lines to start from, of the symbols that both ways know."""
    recipe = Recipe(TRADING_DAY, 300, 1, dialect, symbols=len(SYMBOLS), seed=rng.randrange(1 << 30))
    names = dict(zip((name.encode() for name in symbols(len(SYMBOLS))), SYMBOLS, strict=True))
    found = []
    for line in lines_of(recipe):
        [name] = [name for name in names if b'"' + name + b'"' in line]
        found.append(line.replace(name, names[name]))
    with open_capture(capture(dialect)) as opened:
        frames = [entry.data for entry in opened.entries() if entry.kind is EntryKind.FRAME]
    return [*found, *(line.replace(b'"AAPL"', b'"A"') for frame in frames for line in frame.split(b"\n") if line)]


def fuzz(seconds: float, seed: int) -> tuple[int, int]:
    """Compare both ways for so long; return how many lines went there, and how many the compiled step has taken."""
    from tests.pipeline.compiled.ways import Both  # noqa: PLC0415 - behind the choice of the build

    rng = random.Random(seed)
    sent = taken = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        dialect = rng.choice(DIALECTS)
        budget_bytes, conflate_ms = rng.choice((1 << 30, 1 << 30, 20_000)), rng.choice((0, 0, 0, 5))
        both = Both(dialect, budget_bytes=budget_bytes, conflate_ms=conflate_ms, latest=rng.random() < 0.1)
        lines = usual_lines(dialect, rng)
        for _ in range(COMPARISONS):
            sent += _compare(both, lines, rng)
            if rng.random() < 0.3:
                both.acknowledge()
        taken += both.compiled.taken
    return sent, taken


def _compare(both: Both, lines: Sequence[bytes], rng: random.Random) -> int:
    chosen = [rng.choices(lines, k=rng.choice((1, 1, 2, 5, 100))) for _ in range(FRAMES)]
    frames = [
        b"\n".join(line if rng.random() < 0.5 else changed(line, lines, rng) for line in frame) for frame in chosen
    ]
    try:
        both.receive(frames)
    except AssertionError:
        sys.stderr.write("different after: " + "\n".join(map(repr, frames)) + "\n")
        raise
    return sum(frame.count(b"\n") + 1 for frame in frames)


def main(
    seconds: Annotated[float, typer.Option(help="How long.")] = 30,
    seed: Annotated[int | None, typer.Option(help="To repeat a run.")] = None,
    *,
    sanitize: Annotated[bool, typer.Option("--sanitize", help="Build with sanitizers for this run.")] = False,
) -> None:
    """Compare both ways over lines that are changed at random."""
    seed = random.randrange(1 << 30) if seed is None else seed
    if sanitize and BUILD not in os.environ:
        raise typer.Exit(_run_sanitized(seconds, seed))
    if BUILD in os.environ:
        _use(Path(os.environ[BUILD]))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    sys.stderr.write(f"seed {seed}\n")
    sent, taken = fuzz(seconds, seed)
    sys.stderr.write(f"{sent} lines, {taken} of them taken by the compiled step: no difference\n")


def _use(path: Path) -> None:
    """Load the compiled step from another place than its own."""
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[MODULE] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    setattr(sys.modules["bridge.pipeline.compiled"], MODULE.rpartition(".")[2], module)


def _run_sanitized(seconds: float, seed: int) -> int:
    from bridge.pipeline.compiled import build  # noqa: PLC0415 - it needs hatchling

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / build.MODULE
        build.build(target, *SANITIZERS)
        libraries = [
            subprocess.run(
                ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
            ).stdout.strip()
            for name in ("libasan.so", "libubsan.so")
        ]
        environ = {
            **os.environ,
            BUILD: str(target),
            "LD_PRELOAD": " ".join(libraries),
            "PYTHONMALLOC": "malloc",
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",  # Python frees little at its end
        }
        command = [sys.executable, "-m", "tests.programs.fuzz_lines", "--seconds", str(seconds), "--seed", str(seed)]
        return subprocess.run(command, env=environ, check=False).returncode


if __name__ == "__main__":
    typer.run(main)
