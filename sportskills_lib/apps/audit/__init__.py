"""How right the filters are: gold samples drawn from a run, labelled by people, scored with
intervals.
"""
