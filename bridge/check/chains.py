"""Checks of option chains: resolve each once, and report what the bridge would subscribe to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bridge.aries.access_token import FixedToken
from bridge.aries.chains.resolver import resolve_once
from bridge.aries.subscriptions import Plan, Subscription, symbols
from bridge.market_data import EventType
from bridge.parts import chain_endpoints
from bridge.secrets.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.check.report import CheckReport
    from bridge.settings import Settings

CHAINS = "Option chains"
_HINT = "Until then the bridge runs without these contracts, is not ready, and keeps trying."


async def check_chains(report: CheckReport, settings: Settings, access_token: str) -> Plan:
    """Report the contracts of each underlying, or why they cannot be told; return the plan with them."""
    plan = settings.plan()
    if not plan.chains:
        return plan
    endpoints = chain_endpoints(settings, FixedToken(Secret.fixed("ARIES_ACCESS_TOKEN", access_token)))
    resolved, selections, problems = await resolve_once(plan, endpoints, time.time())
    for underlying, problem in problems.items():
        report.fail(CHAINS, f"{underlying}: {problem.rstrip('.')}", _HINT)
    for chain, selection in selections.items():
        text = f"{chain.underlying}: {_text(selection.symbols)}"
        if selection.left_out:
            left_out = f"{selection.left_out} more are left out by max_contracts ({chain.max_contracts})"
            report.warn(CHAINS, f"{text}; {left_out}", "Raise it, or narrow the expirations or strikes.")
        elif not selection.needs_price:
            report.ok(CHAINS, text)
    return resolved or _underlyings(plan)


def _text(names: Iterable[str]) -> str:
    contracts = [contract for name in names if (contract := symbols.contract(name)) is not None]
    if not contracts:
        return "no contract is within the limits of the entry"
    days, strikes = {one.expiration for one in contracts}, {one.strike for one in contracts}
    return (
        f"{len(contracts)} contracts of {len(days)} expirations ({min(days)} to {max(days)}), "
        f"strikes {min(strikes):g} to {max(strikes):g}"
    )


def _underlyings(plan: Plan) -> Plan:
    """Return a plan to try a subscription with, while no contract is known."""
    trades = frozenset({EventType.TRADES})
    return Plan(Subscription(chain.underlying, chain.underlying_type, trades) for chain in plan.chains)
