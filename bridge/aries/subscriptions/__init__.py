"""What to subscribe to: symbols and their types, events and fields, from settings or from a watched file."""

from bridge.aries.subscriptions.planning import ChangedSymbols, Difference, Plan, Subscription, difference, plan

__all__ = ["ChangedSymbols", "Difference", "Plan", "Subscription", "difference", "plan"]
