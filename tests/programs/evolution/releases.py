"""The schemas of today and of each release, as files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bridge.serialization.schemas import INVALID_SCHEMA_ERRORS, Schema, parse_schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: As the tags of releases, without their v.
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)(.*)")


class UnusableSchemas(Exception):
    """A folder that does not hold what it should; the text says which and what to do."""


@dataclass(frozen=True, slots=True)
class Release:
    """The schemas of a version, by file name."""

    version: str
    schemas: Mapping[str, Schema]


def schemas_in(folder: Path) -> dict[str, Schema]:
    """Return the schemas of a folder by file name; raises UnusableSchemas."""
    found = {path.name: _schema(path) for path in sorted(folder.glob("*.avsc"))}
    if not found:
        raise UnusableSchemas(f"{folder} has no schemas (*.avsc): copy those of the release into it, or remove it")
    return found


def releases(folder: Path) -> list[Release]:
    """Return the releases kept in a folder, the oldest first; raises UnusableSchemas."""
    found = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return [Release(path.name, schemas_in(path)) for path in sorted(found, key=_place)]


def _place(folder: Path) -> tuple[int, int, int, bool, str]:
    """Return what orders versions: by number, and a pre-release before its release."""
    version = _VERSION.fullmatch(folder.name)
    if version is None:
        raise UnusableSchemas(f"{folder} is not named like a version: rename it to that of its release, such as 1.2.3")
    major, minor, patch, suffix = version.groups()
    return int(major), int(minor), int(patch), not suffix, suffix


def _schema(path: Path) -> Schema:
    try:
        return parse_schema(path.read_text(encoding="utf-8"))
    except INVALID_SCHEMA_ERRORS as error:
        raise UnusableSchemas(f"{path} is not the schema of a record: {error}") from error
