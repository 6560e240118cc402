"""What to subscribe to: symbols and their types, events and fields, from settings or from a watched file."""

from bridge.aries.subscriptions.planning import Difference, Plan, Subscription, difference, plan

__all__ = ["Difference", "Plan", "Subscription", "difference", "plan"]
