"""The benchmark: the bridge beside a straightforward one, on the same feed, broker and machine."""
