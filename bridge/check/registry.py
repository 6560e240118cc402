"""Checks of the schema registry: each server, and each subject's schema."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bridge.check.endpoint import Endpoint, check_endpoint
from bridge.errors import RegistryRefused, RegistryUnreachable
from bridge.network.proxies import proxy_for
from bridge.serialization import registry_settings
from bridge.serialization.registry_transport import server_urls
from bridge.serialization.schema_registry import Registry
from bridge.serialization.subjects import SubjectStatus, compare_subject, subjects

if TYPE_CHECKING:
    from bridge.check.report import CheckReport
    from bridge.serialization.subjects import SubjectResult
    from bridge.settings import Settings

REGISTRY, TLS, SUBJECTS = "Schema registry", "Schema registry TLS", "Schema registry subjects"
_CHECK_URL = "Check SCHEMA_REGISTRY_URL."


async def check_registry(report: CheckReport, settings: Settings, urls: str, timeout_seconds: float) -> None:
    """Check each of the registry's comma-separated URLs, and the subjects at the first that answers.

    Nothing is registered.
    """
    compared = None
    for url in server_urls(urls):
        answer = await _compare(report, settings, url, timeout_seconds)
        compared = compared or answer
    if compared is not None:
        _report_subjects(report, settings, compared)


async def _compare(
    report: CheckReport, settings: Settings, url: str, timeout_seconds: float
) -> list[SubjectResult] | None:
    try:
        async with Registry.of(settings, url) as registry:
            compared = [
                await compare_subject(registry, subject, schema)
                for subject, schema in subjects(settings.topics, settings.schema_registry_context)
            ]
    except RegistryRefused as error:
        report.fail(REGISTRY, f"{error.url} denies access (HTTP {error.status})", error.hint)
        return None
    except RegistryUnreachable as error:
        report.fail(REGISTRY, error.problem, error.hint)
        return None
    endpoint = Endpoint.of_url(url)
    report.ok(REGISTRY, f"{endpoint} answers, and lets us read")
    if endpoint.tls is not None and proxy_for(url) is None:  # which alone may reach it
        endpoint = replace(endpoint, tls=registry_settings.tls(settings))
        await check_endpoint(report, TLS, endpoint, _CHECK_URL, timeout_seconds)
    return compared


def _report_subjects(report: CheckReport, settings: Settings, compared: list[SubjectResult]) -> None:
    wrong = [result for result in compared if result.status is not SubjectStatus.SAME]
    if not wrong:
        report.ok(SUBJECTS, "each has the bridge's schema")
    elif settings.schema_registry_auto_register:
        names = ", ".join(result.subject for result in wrong)
        report.ok(SUBJECTS, f"the bridge registers its schemas at start (SCHEMA_REGISTRY_AUTO_REGISTER) for {names}")
    else:
        for result in wrong:
            report.fail(f"Schema registry subject {result.subject}", result.details, result.hint)
