"""Intervals, tests, power and agreement; arrays in, numbers out."""
