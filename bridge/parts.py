"""The parts of a bridge that its settings alone decide; ``check`` and other commands make the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bridge as package
from bridge.aries.access_token import FixedToken, RefreshingToken
from bridge.aries.chains.rest import ChainEndpoints
from bridge.aries.protocol.action import Action
from bridge.aries.protocol.envelope import Envelope
from bridge.capture.directory import CaptureDirectory
from bridge.capture.recorder import CaptureRecorder, NoRecorder
from bridge.capture.writer import CaptureWriter
from bridge.kafka.client_options import client_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.aries.access_token import TokenSource
    from bridge.aries.protocol.dialect import Dialect
    from bridge.settings import Settings


def token_source(settings: Settings, learn_secret: Callable[[str], None] = lambda _: None) -> TokenSource:
    """Return the source of access tokens; ``learn_secret`` is called with each secret that comes with one."""
    if settings.aries_access_token is not None:
        return FixedToken(settings.aries_access_token)
    assert settings.aries_client_id is not None  # validated by the settings
    assert settings.aries_refresh_token is not None
    return RefreshingToken(
        url=settings.aries_token_url,
        client_id=settings.aries_client_id,
        refresh_token=settings.aries_refresh_token,
        client_secret=settings.aries_client_secret,
        cafile=settings.aries_ssl_cafile,
        learn_secret=learn_secret,
    )


def chain_endpoints(
    settings: Settings, tokens: TokenSource, learn_secret: Callable[[str], None] = lambda _: None
) -> ChainEndpoints:
    """Return the REST endpoints for option chains."""
    return ChainEndpoints(settings.api_url, tokens, learn_secret=learn_secret, cafile=settings.aries_ssl_cafile)


def open_recorder(settings: Settings, redact: Callable[[str], str]) -> CaptureRecorder | NoRecorder:
    """Return the recorder of what is received; one that does nothing without a directory for captures."""
    if settings.bridge_capture_dir is None:
        return NoRecorder()
    instance = settings.bridge_instance
    directory = CaptureDirectory(settings.bridge_capture_dir, settings.bridge_capture_max_bytes, instance)
    about = {"dialect": settings.dialect, "instance": instance, "bridge_version": package.__version__}
    writer = CaptureWriter(directory, about, redact)
    everything = settings.bridge_capture_mode == "all"
    return CaptureRecorder(writer, everything=everything, flight_bytes=settings.bridge_flight_recorder_bytes)


def dialect(settings: Settings) -> Dialect:
    """Return the dialect to speak."""
    if settings.dialect == "envelope":
        return Envelope()
    api_key = settings.aries_api_key
    return Action(api_key.reveal if api_key is not None else None)


def producer_options(settings: Settings, learn_secret: Callable[[str], None]) -> dict[str, object]:
    """Return the options of a new producer; secrets and certificates are read again."""
    return {
        "metadata_max_age_ms": 60_000,
        **client_options(settings, settings.bridge_instance, learn_secret),
    }
