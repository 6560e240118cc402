"""How every reader of the topics gets its deserializer."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from bridge.serialization import schemas
from bridge.serialization.deserializer import Deserializer
from bridge.serialization.schema_registry import Registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.serialization.registry_settings import DecodingSettings


def single_object_deserializer() -> Deserializer:
    """Return a deserializer by fingerprint, of this version and earlier ones; ``decode_known`` needs no event loop."""
    return Deserializer(schemas.load(), released=schemas.load_released())


@asynccontextmanager
async def open_deserializer(settings: DecodingSettings) -> AsyncIterator[Deserializer]:
    """Provide a deserializer with the bridge's schemas, those of its releases, and the registry's if one is set."""
    if settings.schema_registry_url is None:
        yield single_object_deserializer()
        return
    async with Registry.of(settings, settings.schema_registry_url) as registry:
        yield Deserializer(schemas.load(), registry, schemas.load_released())
