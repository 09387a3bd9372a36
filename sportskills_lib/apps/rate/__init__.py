"""Coaches grade clips for learners: which pairs, who grades what, where grades are kept, and what
comes out of it.
"""
