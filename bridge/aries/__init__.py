"""The Aries feed: its client, access tokens and reconnect policy, subscriptions, and the wire protocol."""
