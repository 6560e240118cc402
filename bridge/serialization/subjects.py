"""The bridge's schemas compared with those of a schema registry's subjects, and registered there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from bridge.errors import SchemaMismatch
from bridge.serialization import schemas
from bridge.serialization.schema_registry import subject_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.serialization.schema_registry import Registry
    from bridge.serialization.schemas import Schema
    from bridge.topics import Topic


class SubjectStatus(StrEnum):
    """How a subject's schemas relate to the bridge's schema, or what was done about it."""

    SAME = "same"
    MISSING = "missing"
    DIFFERENT = "different"
    REGISTERED = "registered"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class SubjectResult:
    """The result of comparing or registering one subject; ``hint`` is empty if it has the bridge's schema."""

    subject: str
    status: SubjectStatus
    details: str
    hint: str = ""


def subjects(names: Mapping[Topic, str], context: str | None = None) -> Iterator[tuple[str, Schema]]:
    """Yield the subject and the schema of each topic."""
    known = schemas.load()
    for topic, name in names.items():
        yield subject_of(name, context), known[topic]


async def compare_subject(registry: Registry, subject: str, schema: Schema) -> SubjectResult:
    """Return whether a subject has this schema; raises what ``Registry.lookup`` raises."""
    try:
        return SubjectResult(subject, SubjectStatus.SAME, f"id {await registry.lookup(subject, schema)}")
    except SchemaMismatch as mismatch:
        status = SubjectStatus.MISSING if mismatch.missing else SubjectStatus.DIFFERENT
        return SubjectResult(subject, status, mismatch.problem, mismatch.hint)


async def register_subject(registry: Registry, subject: str, schema: Schema) -> SubjectResult:
    """Register the schema unless the subject has it; raises what ``Registry.register`` raises."""
    compared = await compare_subject(registry, subject, schema)
    if compared.status is SubjectStatus.SAME:
        return compared
    try:
        return SubjectResult(subject, SubjectStatus.REGISTERED, f"id {await registry.register(subject, schema)}")
    except SchemaMismatch as mismatch:
        return SubjectResult(subject, SubjectStatus.FAILED, mismatch.problem, mismatch.hint)
