"""From a list of sports to a folder of lessons: search, captions first, video only where something
is taught.
"""
