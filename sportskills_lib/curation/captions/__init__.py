"""Caption files as timed words: WebVTT, SRT, SBV, json3, segment JSON, timestamped text.

``caption_reader`` chooses a video's file and reads it; its table ``READERS`` names the reader of
each format. ``caption_formats`` holds those readers (text in, cues out); ``cues`` holds what they
share, and turns cues into words.
"""
