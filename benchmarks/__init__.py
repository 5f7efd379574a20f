"""Speed, measured: each module here times one thing and writes `benchmarks/results/<name>.json`."""
