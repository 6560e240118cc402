"""Run the preflight in a test and look at what it finds."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.check.preflight import preflight
from bridge.check.report import Finding, Report, Status
from bridge.cli.check import clean, exit_code
from bridge.secrets.redaction import Redactor
from bridge.settings import examine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    import trustme

#: Enough settings of the side that a test is not about.
NO_ARIES = {"ARIES_WS_URL": "ws://127.0.0.1:1/v1/market/ws", "ARIES_ACCESS_TOKEN": "a-good-token", "ARIES_SYMBOLS": "A"}
NO_KAFKA = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}


@dataclass
class Findings:
    """Hold findings as they come."""

    all: list[Finding] = field(default_factory=list)

    @property
    def report(self) -> Report:
        """Return a report that ends here."""
        return Report(self.all.append)

    @property
    def exit_code(self) -> int:
        """Return what the command would end with."""
        return exit_code(self.all)

    def named(self, check: str) -> list[Finding]:
        """Return the findings of one check."""
        return [finding for finding in self.all if finding.check == check]

    def __getitem__(self, check: str) -> Finding:
        """Return the only finding of a check."""
        found = self.named(check)
        assert len(found) == 1, f"{check}: {self.all}"
        return found[0]

    def __contains__(self, check: str) -> bool:
        return bool(self.named(check))

    def must(self, check: str, status: Status, *words: str) -> None:
        """Assert what a check found; the words stand in its line."""
        finding = self[check]
        assert finding.status is status, finding
        for word in words:
            assert word in str(finding), finding
        assert bool(finding.remedy) is (status is not Status.OK), finding


async def found(
    environ: Mapping[str, str], *, session: bool = True, patience_seconds: float = 8, timeout_seconds: float = 30
) -> Findings:
    """Return what the preflight finds in an environment."""
    findings = Findings()
    redactor = Redactor(examine(environ)[0].secrets)
    await preflight(
        environ,
        lambda finding: findings.all.append(clean(finding, redactor)),
        redactor.learn,
        session=session,
        timeout_seconds=timeout_seconds,
        patience_seconds=patience_seconds,
    )
    return findings


def server_tls(
    authority: trustme.CA, name: str = "127.0.0.1", *, from_: datetime | None = None, until: datetime | None = None
) -> ssl.SSLContext:
    """Return a server's side of TLS with a certificate of this authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_before=from_, not_after=until).configure_cert(context)
    return context


def authority_file(authority: trustme.CA, directory: Path) -> str:
    """Return the path of a file to trust."""
    file = directory / "authority.pem"
    authority.cert_pem.write_to_path(file)
    return str(file)
