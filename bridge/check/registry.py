"""Does the schema registry answer, and has it the bridge's schemas."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bridge.check.network import Endpoint, reach
from bridge.check.report import in_turn
from bridge.errors import RegistryRefused, RegistryUnreachable, SchemaMismatch
from bridge.serialization import schemas
from bridge.serialization.schema_registry import Registry, subject_of

if TYPE_CHECKING:
    from bridge.check.report import Report
    from bridge.settings import Settings

ANSWER, SCHEMAS = "Schema registry", "Schema registry subjects"
_PORTS = {"http": 80, "https": 443}


async def check(report: Report, settings: Settings, url: str, patience_seconds: float) -> None:
    """Report on the registry's servers and on every subject; nothing is registered."""
    servers = [_endpoint(settings, one.strip()) for one in url.split(",") if one.strip()]
    reached = await in_turn(report, *(partial(_reach, server, patience_seconds) for server in servers))
    if any(reached):
        async with Registry.of(settings, url) as registry:
            await _judge_subjects(report, settings, registry)


async def _reach(endpoint: Endpoint, patience_seconds: float, report: Report) -> bool:
    return await reach(report, endpoint, patience_seconds)


def _endpoint(settings: Settings, url: str) -> Endpoint:
    parts = urlsplit(url)
    tls = ssl.create_default_context(cafile=settings.schema_registry_cafile) if parts.scheme == "https" else None
    port = parts.port or _PORTS[parts.scheme]
    host = parts.hostname or ""
    return Endpoint("Schema registry", host, port, "SCHEMA_REGISTRY_URL", tls, "SCHEMA_REGISTRY_CAFILE")


async def _judge_subjects(report: Report, settings: Settings, registry: Registry) -> None:
    unfit: list[SchemaMismatch] = []
    for topic, schema in schemas.load().items():
        try:
            await registry.lookup(subject_of(settings.topics[topic]), schema)
        except SchemaMismatch as error:
            unfit.append(error)
        except RegistryRefused as error:
            account = "Set SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD to an account that may read subjects."
            report.fail(ANSWER, f"{error.url} refuses us (HTTP {error.status})", account)
            return
        except RegistryUnreachable as error:
            report.fail(ANSWER, str(error), "Check SCHEMA_REGISTRY_URL.")
            return
    report.ok(ANSWER, "answers, and lets us read")
    _tell_subjects(report, settings, unfit)


def _tell_subjects(report: Report, settings: Settings, unfit: list[SchemaMismatch]) -> None:
    if not unfit:
        report.ok(SCHEMAS, "every one has the bridge's schema")
    elif settings.schema_registry_auto_register:
        missing = ", ".join(error.subject for error in unfit)
        said = f"the bridge will register its schemas when it starts (SCHEMA_REGISTRY_AUTO_REGISTER) for {missing}"
        report.ok(SCHEMAS, said)
    else:
        for error in unfit:
            report.fail(f"Schema registry subject {error.subject}", error.problem, error.remedy)
