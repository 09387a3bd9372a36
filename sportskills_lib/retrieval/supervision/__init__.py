"""Weak labels for the relevance model, built from what experts said of learners."""
