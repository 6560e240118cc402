"""The settings: what the environment may say, checked at once, with secrets that stay unseen."""

from bridge.settings.environment import Settings, examine, load

__all__ = ["Settings", "examine", "load"]
