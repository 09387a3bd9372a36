"""What people run beside the pipeline: sweeps, audits, advice, ratings, exports, comparisons."""
