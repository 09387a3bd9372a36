"""From a folder of videos and captions to actionable narrations."""
