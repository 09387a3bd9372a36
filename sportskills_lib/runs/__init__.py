"""Runs on disk and how they are made: artifacts, keys, workers, notebooks, the pipeline."""
