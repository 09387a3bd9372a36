"""The demo world: a generated stand-in for YouTube, Ego-Exo4D and the coaches."""
