"""Option chains: which contracts of an underlying are listed, and which of them to subscribe to at the moment."""
