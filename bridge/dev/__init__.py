"""What ``aries-bridge dev`` does: the real bridge, with a simulated Aries and an embedded broker if not configured."""
