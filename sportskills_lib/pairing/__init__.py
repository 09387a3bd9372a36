"""From narrations to (clip, narration) pairs, without duplicates, split by channel."""
