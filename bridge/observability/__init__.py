"""What the bridge shows of itself over HTTP: probes, metrics, status, and a page to watch."""
