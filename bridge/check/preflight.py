"""All checks: first the settings, then Aries, Kafka and the schema registry concurrently."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from bridge.check.aries import check_aries
from bridge.check.kafka import check_kafka
from bridge.check.registry import check_registry
from bridge.check.report import CheckReport, run_concurrently
from bridge.check.settings import Side, check_settings, is_valid
from bridge.errors import BridgeError
from bridge.topics import ALWAYS, AnyTopic, latest_topics_for, topics_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from bridge.check.report import CheckResult

#: How long one check waits for an answer.
ANSWER_TIMEOUT_SECONDS = 10.0


async def preflight(
    environ: Mapping[str, str],
    on_result: Callable[[CheckResult], None],
    learn_secret: Callable[[str], None],
    *,
    session: bool,
    timeout_seconds: float,
    answer_timeout_seconds: float = ANSWER_TIMEOUT_SECONDS,
) -> None:
    """Run every check that the settings allow; ``learn_secret`` gets new secrets before results may contain them.

    ``timeout_seconds`` limits all checks together, ``answer_timeout_seconds`` each answer.
    """
    report = CheckReport(on_result)
    settings = check_settings(report, environ)
    answer_timeout = min(answer_timeout_seconds, timeout_seconds)
    needed: set[AnyTopic] = set(settings.written_topics)
    sides: dict[str, Callable[[CheckReport], Awaitable[None]]] = {}
    if is_valid(environ, Side.ARIES):
        needed = {*topics_for(settings.plan().events), *ALWAYS}
        if settings.bridge_latest:
            needed |= latest_topics_for(needed)
        sides["Aries"] = lambda report: check_aries(report, settings, learn_secret, answer_timeout, session=session)
    if is_valid(environ, Side.KAFKA):
        sides["Kafka"] = lambda report: check_kafka(report, settings, needed, learn_secret, answer_timeout)
    if (urls := settings.schema_registry_url) and is_valid(environ, Side.REGISTRY):
        sides["Schema registry"] = lambda report: check_registry(report, settings, urls, answer_timeout)
    await run_concurrently(report, *(partial(_run_side, name, side, timeout_seconds) for name, side in sides.items()))


async def _run_side(
    name: str, check: Callable[[CheckReport], Awaitable[None]], timeout_seconds: float, report: CheckReport
) -> None:
    """Check one side; report a timeout and the bridge's own errors as failures."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await check(report)
    except TimeoutError:
        report.fail(name, f"not finished within {timeout_seconds:g} s", "Allow more time with --timeout.")
    except BridgeError as error:
        report.fail(name, str(error), "Fix that, then check again.")
