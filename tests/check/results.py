"""Run the preflight in a test and inspect its results."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.check.preflight import preflight
from bridge.check.report import CheckReport, CheckResult, Status
from bridge.cli.check import exit_code, redact
from bridge.secrets.redaction import Redactor
from bridge.settings import examine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    import trustme

#: Valid settings of the side that a test is not about.
NO_ARIES = {"ARIES_WS_URL": "ws://127.0.0.1:1/v1/market/ws", "ARIES_ACCESS_TOKEN": "a-good-token", "ARIES_SYMBOLS": "A"}
NO_KAFKA = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}


@dataclass
class Results:
    """The results so far."""

    all: list[CheckResult] = field(default_factory=list)

    @property
    def report(self) -> CheckReport:
        """Return a report that adds to these results."""
        return CheckReport(self.all.append)

    @property
    def exit_code(self) -> int:
        """Return the exit code of the command."""
        return exit_code(self.all)

    def named(self, check: str) -> list[CheckResult]:
        """Return the results of one check."""
        return [result for result in self.all if result.check == check]

    def __getitem__(self, check: str) -> CheckResult:
        """Return the only result of a check."""
        results = self.named(check)
        assert len(results) == 1, f"{check}: {self.all}"
        return results[0]

    def __contains__(self, check: str) -> bool:
        return bool(self.named(check))

    def expect(self, check: str, status: Status, *parts: str) -> None:
        """Assert the status of a check and parts of its line; only a check that passed has no hint."""
        result = self[check]
        assert result.status is status, result
        for part in parts:
            assert part in str(result), result
        assert bool(result.hint) is (status is not Status.OK), result


async def run_preflight(
    environ: Mapping[str, str], *, session: bool = True, answer_timeout_seconds: float = 8, timeout_seconds: float = 30
) -> Results:
    """Return the results of the preflight in an environment."""
    results = Results()
    redactor = Redactor(examine(environ)[0].secrets)
    await preflight(
        environ,
        lambda result: results.all.append(redact(result, redactor)),
        redactor.learn,
        session=session,
        timeout_seconds=timeout_seconds,
        answer_timeout_seconds=answer_timeout_seconds,
    )
    return results


def server_tls(
    authority: trustme.CA, name: str = "127.0.0.1", *, from_: datetime | None = None, until: datetime | None = None
) -> ssl.SSLContext:
    """Return a server's TLS context with a certificate of this authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_before=from_, not_after=until).configure_cert(context)
    return context


def authority_file(authority: trustme.CA, directory: Path) -> str:
    """Return the path of a file with the authority's certificate."""
    file = directory / "authority.pem"
    authority.cert_pem.write_to_path(file)
    return str(file)
