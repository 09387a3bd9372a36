"""Image- and video-text towers, trained on pairs."""
