"""Recall, significance, figures and the report."""
