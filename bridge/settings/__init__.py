"""The settings: read from the environment, validated all at once, with secrets that are never shown."""

from bridge.settings.environment import examine, load, load_only, secrets_in
from bridge.settings.fields import Settings
from bridge.settings.validation import Problem

__all__ = ["Problem", "Settings", "examine", "load", "load_only", "secrets_in"]
