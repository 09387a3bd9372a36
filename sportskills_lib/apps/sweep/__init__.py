"""Sweeps: many runs of the later stages over one base run, a plan before anything is loaded, and
the study.
"""
