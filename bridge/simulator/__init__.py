"""An Aries market-data server for development and tests: both dialects, a simulated market, faults on demand."""
