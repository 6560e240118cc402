"""Generated documentation: a part of a README between two comments, or a whole file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class MarkersMissing(SystemExit):
    """A README without a place for its generated part."""


def with_part(readme: Path, text: str, begin: str, part: str, end: str) -> str:
    """Return the text of a README with another part between its markers; raise MarkersMissing if there are none."""
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise MarkersMissing(
            f"{readme.name}: the lines {begin.strip()} and {end.strip()} must both be there, in this order."
        )
    return f"{before}{begin}{part}{end}{after}"


def main(module: str, readme: Path, generated: Callable[[str], str], arguments: Sequence[str] | None) -> str | None:
    """Write or check a README or another file, for a module's command line; return what is wrong with it."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--write", action="store_true", help="bring it up to date")
    choice.add_argument("--check", action="store_true", help="only say whether it is up to date")
    write = parser.parse_args(arguments).write
    now = readme.read_text(encoding="utf-8") if readme.exists() else ""
    wanted = generated(now)
    if write:
        readme.write_text(wanted, encoding="utf-8")
    elif now != wanted:
        return f"{readme}: not up to date: run `make docs`, or `python -m {module} --write`."
    return None
