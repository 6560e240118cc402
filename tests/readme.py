"""Keep the generated parts of the README equal to their source.

``python -m tests.readme --write`` puts them in; ``--check`` (the default) exits with 1 where they differ.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bridge.settings import table as settings_table

README = Path(__file__).parent.parent / "README.md"
BEGIN = "<!-- settings:begin -->"
END = "<!-- settings:end -->"


class MarkersMissing(Exception):
    """Say that the README has no place for the table."""

    def __str__(self) -> str:
        return f"README.md: the lines {BEGIN} and {END} must both be there, in this order."


def generated(readme: str) -> str:
    """Return the README with the table of settings as it is now."""
    before, begin, rest = readme.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise MarkersMissing
    return f"{before}{begin}{settings_table.markdown()}\n{end}{after}"


def main(arguments: list[str] | None = None) -> str | None:
    """Write or check the README; return what is wrong with it."""
    parser = argparse.ArgumentParser(prog="python -m tests.readme", description=__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--write", action="store_true", help="bring the README up to date")
    choice.add_argument("--check", action="store_true", help="only say whether it is up to date")
    write = parser.parse_args(arguments).write
    now = README.read_text(encoding="utf-8")
    try:
        wanted = generated(now)
    except MarkersMissing as error:
        return str(error)
    if write:
        README.write_text(wanted, encoding="utf-8")
    elif now != wanted:
        return "README.md: the table of settings is not up to date: run `make docs`."
    return None


if __name__ == "__main__":
    sys.exit(main())
