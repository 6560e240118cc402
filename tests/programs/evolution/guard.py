"""Today's schemas against those of every release (FULL_TRANSITIVE, and stricter)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.programs.evolution.changes import broken_rules
from tests.programs.evolution.releases import releases, schemas_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bridge.serialization.schemas import Schema
    from tests.programs.evolution.releases import Release


def problems(folder: Path) -> list[str]:
    """Return what readers could not bear, one line each; ``folder`` has the schemas of today, and ``released/``.

    Raises UnusableSchemas.
    """
    today = schemas_in(folder)
    kept = releases(folder / "released")
    return [line for release in kept for line in _problems(today, release, is_newest=release is kept[-1])]


def summary(folder: Path) -> str:
    """Return what was compared."""
    kept = [release.version for release in releases(folder / "released")]
    count = len(schemas_in(folder))
    if not kept:
        return f"{count} schemas, and no release to compare them with yet"
    return f"{count} schemas are compatible with those of {', '.join(kept)}"


def _problems(today: Mapping[str, Schema], release: Release, *, is_newest: bool) -> Iterator[str]:
    for file, released in release.schemas.items():
        start = f"{file}, against release {release.version}"
        if file not in today:
            yield f"{start}: {released.name} has no schema any more, and its readers no records. Restore the file."
        else:
            for broken in broken_rules(released, today[file], is_newest=is_newest):
                yield f"{start}: {broken}"
