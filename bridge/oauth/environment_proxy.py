"""Moved to :mod:`bridge.network.proxies`."""

from bridge.network.proxies import proxy_options

__all__ = ["proxy_options"]
