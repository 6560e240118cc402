"""``aries-bridge check``: the preflight as a command, for people, init containers and ``helm test``."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop

from bridge import settings
from bridge.check import environment
from bridge.check.report import Finding, Status
from bridge.errors import BridgeError, SettingsError
from bridge.observability import log_config as logs

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
            help="Whether to authenticate with Aries and subscribe to one symbol. Without it nothing is disturbed.",
        ),
    ] = True,
    timeout: Annotated[float, typer.Option(min=1, help="End after so many seconds.")] = DEFAULT_TIMEOUT_SECONDS,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list of check, status, finding, remedy.")
    ] = False,
) -> None:
    """Look at everything the bridge needs, a line each, and say how to mend what is wrong.

    Ends with 0 if nothing failed, 2 if a setting is wrong, else 1. Nothing is
    written to Kafka or the registry, and no secret is printed.

    A session may evict the one of a running bridge (many accounts allow one at
    a time), and a refresh token may be valid only once. So use --no-session
    beside a running bridge, in `helm test` and in an init container: it leaves
    out authentication and subscription, and leaves a refresh token alone.
    """
    from bridge.check.preflight import preflight  # noqa: PLC0415 - the other commands start faster without it

    redactor = logs.configure("WARNING", "console", settings.examine()[0].secrets)
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(clean(finding, redactor))
        if not as_json:
            typer.echo(str(findings[-1]))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(preflight(os.environ, tell, redactor.learn, session=session, timeout_seconds=timeout))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    raise typer.Exit(exit_code(findings))


def clean(finding: Finding, redactor: Redactor) -> Finding:
    """Return a finding in one line and without secrets."""
    check, found, remedy = (
        " ".join(redactor.redacted(text).split()) for text in (finding.check, finding.finding, finding.remedy)
    )
    return Finding(check, finding.status, found, remedy)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 0 if nothing failed, what wrong settings end with, or 1."""
    failed = {finding.check for finding in findings if finding.status is Status.FAIL}
    if environment.CHECK in failed:
        return SettingsError.exit_code
    return BridgeError.exit_code if failed else 0
