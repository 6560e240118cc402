"""The benchmark: the bridge compared with a simple implementation, on the same feed, broker and machine."""
