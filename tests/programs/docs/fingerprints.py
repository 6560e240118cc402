"""Keep the table of fingerprints in ``avro/README.md`` equal to the schemas.

``python -m tests.programs.docs.fingerprints --write`` updates it; ``--check`` (the default) only compares.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from bridge.serialization import schemas
from tests.support import generated as generated_part
from tests.support.generated import with_part
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

README: Final = ROOT / "avro/README.md"
BEGIN: Final = "<!-- fingerprints:begin -->\n"
END: Final = "<!-- fingerprints:end -->"


def table() -> str:
    """Return the fingerprint of each record's schema, as bytes and as a number."""
    return "\n".join(("| record | file | the 8 bytes | as a number |", "|---|---|---|---|", *_rows(), ""))


def _rows() -> Iterator[str]:
    for topic, schema in schemas.load().items():
        name = schema.name.rpartition(".")[2]
        number = f"0x{schema.fingerprint_number:016x}"
        yield f"| `{name}` | `{schemas.FILES[topic]}` | `{schema.fingerprint.hex()}` | `{number}` |"


def generated(readme: str) -> str:
    """Return the README with the table as it is now."""
    return with_part(README, readme, BEGIN, table(), END)


def main(arguments: list[str] | None = None) -> str | None:
    """Write or check the README; return what is wrong with it."""
    return generated_part.main("tests.programs.docs.fingerprints", README, generated, arguments)


if __name__ == "__main__":
    sys.exit(main())
