"""Keep the generated parts of the README equal to their source.

``python -m tests.readme --write`` puts them in; ``--check`` (the default) exits with 1 where they differ.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bridge.settings import table as settings_table
from tests import generated as generated_part
from tests.generated import MarkersMissing, with_part

README = Path(__file__).parent.parent / "README.md"
BEGIN = "<!-- settings:begin -->"
END = "<!-- settings:end -->"


def generated(readme: str) -> str:
    """Return the README with the table of settings as it is now."""
    return with_part(README, readme, f"{BEGIN}\n", f"{settings_table.markdown()}\n", END)


def main(arguments: list[str] | None = None) -> str | None:
    """Write or check the README; return what is wrong with it."""
    try:
        return generated_part.main("tests.readme", README, generated, arguments)
    except MarkersMissing as missing:
        return str(missing)


if __name__ == "__main__":
    sys.exit(main())
