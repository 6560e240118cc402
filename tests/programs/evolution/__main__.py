"""``python -m tests.programs.evolution``: exit 1 unless the schemas are compatible with those of every release."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.programs.evolution import guard
from tests.programs.evolution.releases import UnusableSchemas
from tests.support.paths import ROOT


def main(arguments: list[str]) -> str | None:
    """Compare the schemas of a folder, by default ``avro/``; return what is wrong with them."""
    folder = Path(arguments[0]) if arguments else ROOT / "avro"
    try:
        found = guard.problems(folder)
    except UnusableSchemas as unusable:
        return str(unusable)
    if found:
        return "\n".join((*found, "avro/README.md (schema evolution) has the rules; releases are never changed."))
    sys.stdout.write(f"{guard.summary(folder)}\n")
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
