"""Measures the filters: gold samples of a run, labelled by people, scored with intervals."""
