"""Sweeps: many runs of the later stages over one base run, their plan, and the study."""
