"""Learners and what experts say of them, from three formats: who tries what, the comment, and the
frames.

:func:`learners_source` is what the setting names, :func:`read_learners` picks the reader by what is
there. Nothing vanishes: what does not become a learner is returned with its reason. The comment
builds supervision only.
"""

from sportskills_lib.learner_data.frames import concat_dropped, read_learner_frames
from sportskills_lib.learner_data.open_learners import learners_source, read_learners

__all__ = [
    "concat_dropped",
    "learners_source",
    "read_learner_frames",
    "read_learners",
]
