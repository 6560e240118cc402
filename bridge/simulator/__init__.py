"""An Aries market-data server to develop and test against: both dialects, a made-up market, faults on demand."""
