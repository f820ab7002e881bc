"""`bench`: the benchmarks."""
