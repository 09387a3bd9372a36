"""Which clips come first for a query: nearest vectors, judged pools, two stages."""
