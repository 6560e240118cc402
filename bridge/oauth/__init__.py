"""A client of OAuth2 token endpoints: early renewal, one request at a time, no secret in any message."""
