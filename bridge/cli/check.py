"""``aries-bridge check``: the preflight, for operators, Jobs and ``helm test``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from bridge import settings
from bridge.check.report import CheckResult, Status
from bridge.check.settings import SETTINGS
from bridge.check.value_names import ValueNames
from bridge.errors import BridgeError, SettingsError
from bridge.network import event_loop
from bridge.observability import log_config

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.secrets.redaction import Redactor

DEFAULT_TIMEOUT_SECONDS = 60.0


def check(
    *,
    session: Annotated[
        bool,
        typer.Option(
            "--session/--no-session",
            help="Whether to authenticate with Aries and subscribe to one symbol; --no-session disturbs nothing.",
        ),
    ] = True,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for all checks.")] = DEFAULT_TIMEOUT_SECONDS,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of check, status, finding, hint.")] = False,
) -> None:
    """Check everything the bridge needs; print a line for each check, with what to do if it fails.

    Exits with 0 if nothing failed, 2 if a setting is invalid, else 1. Nothing is
    written to Kafka or the registry, and no secret is printed.

    A session may evict that of a running bridge (many accounts allow one at a
    time), and a refresh token may be valid only once. So use --no-session
    beside a running bridge, in `helm test` and in a Job: it skips
    authentication and subscription, and does not use a refresh token.
    """
    from bridge.check.preflight import preflight  # noqa: PLC0415 - the other commands start faster without it

    redactor = log_config.configure("WARNING", "console", settings.examine()[0].secrets)
    value_names = ValueNames(os.environ)
    results: list[CheckResult] = []

    def on_result(result: CheckResult) -> None:
        results.append(redact(value_names.name_in(result), redactor))
        if not as_json:
            typer.echo(str(results[-1]))

    event_loop.run(preflight(os.environ, on_result, redactor.learn, session=session, timeout_seconds=timeout))
    if as_json:
        typer.echo(json.dumps([asdict(result) for result in results], indent=2, ensure_ascii=False))
    raise typer.Exit(exit_code(results))


def redact(result: CheckResult, redactor: Redactor) -> CheckResult:
    """Return a result without secrets and line breaks."""
    check, finding, hint = (
        " ".join(redactor.redact(text).split()) for text in (result.check, result.finding, result.hint)
    )
    return CheckResult(check, result.status, finding, hint)


def exit_code(results: Iterable[CheckResult]) -> int:
    """Return 0 if nothing failed, the exit code of invalid settings, or 1."""
    failed = {result.check for result in results if result.status is Status.FAIL}
    if SETTINGS in failed:
        return SettingsError.exit_code
    return BridgeError.exit_code if failed else 0
