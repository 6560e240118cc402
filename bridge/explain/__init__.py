"""``aries-bridge explain``: what the bridge makes of lines of the feed, by the code of the bridge itself."""
