"""What the benchmarks share: order flow and its sums, a broker with a filled topic, processes under watch, results."""
