"""Incidents: what the feed sends that should be looked at, with what was received before it."""

from __future__ import annotations


def ignore_incident(_cause: str, _detail: str) -> None:
    """Do nothing about an incident, as where nothing is captured."""
