"""Generate the table of settings in the README.

``python -m tests.programs.docs.settings_table --write`` writes it; ``--check`` (the default) compares it.
"""

from __future__ import annotations

import sys

from bridge.settings import table as settings_table
from tests.support import generated as generated_part
from tests.support.generated import MarkersMissing, with_part
from tests.support.paths import ROOT

README = ROOT / "README.md"
BEGIN = "<!-- settings:begin -->"
END = "<!-- settings:end -->"


def generated(readme: str) -> str:
    """Return the README with the current table of settings."""
    return with_part(README, readme, f"{BEGIN}\n", f"{settings_table.markdown()}\n", END)


def main(arguments: list[str] | None = None) -> str | None:
    """Write or check the README; return an error message."""
    try:
        return generated_part.main("tests.programs.docs.settings_table", README, generated, arguments)
    except MarkersMissing as missing:
        return str(missing)


if __name__ == "__main__":
    sys.exit(main())
