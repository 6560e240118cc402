"""OAuth2 token endpoints, as a client: one request at a time, renewed early, no secret in any message."""
