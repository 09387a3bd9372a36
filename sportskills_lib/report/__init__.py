"""The report of a run, of two runs side by side, and of several seeds."""
