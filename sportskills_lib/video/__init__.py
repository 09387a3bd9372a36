"""The one door to video: what a file is (probe), and which pictures it shows at given times (read,
stream).

Times are presentation times in seconds, zero where playback starts (edit lists and a non-zero start
are honoured), so they agree with captions. Frames are upright (rotation applied, non-square pixels
stretched), RGB by the matrix and range that the file names, scaled with a triangle filter over all
pixels and letterboxed to a square: a centre crop would cut the feet of a portrait clip and the
racket of a wide one, and those are what a coach looks at.

Two readers. A whole video at an even rate (:func:`stream_frames`) is read by decord (the package
decord2), which costs least per frame, where it can be shown right: its frame times equal the
container's own, no rotation, square pixels, 8-bit 4:2:0. It serves frames that an edit list trims
away, ignores rotation, and returns a wrong shape for some files. PyAV reads the others;
:func:`probe` decides and gives the reason. Single pictures (:func:`read_frames`) are read by PyAV,
by a plan made from the packets (:mod:`sportskills_lib.video.frame_sampling`): decord lists a whole
file before its first picture and decodes every frame up to the one that is needed. Both scale
with FFmpeg; decord2's filter is a little softer (1.6 of 255 on average, from 96 to 64 pixels).

Decoders crash and hang: call these functions in worker processes
(:func:`sportskills_lib.runs.worker_pool.map_shards`), so that a bad file costs one item. Every
failure of a decoder is an :class:`UnreadableVideo`.
"""

from sportskills_lib.video.frame_reader import (
    BATCH,
    cached_film,
    grid_times,
    read_frames,
    stream_frames,
)
from sportskills_lib.video.frame_sampling import inner_size
from sportskills_lib.video.probe import (
    EPSILON_S,
    SUFFIXES,
    OutsideVideo,
    Reader,
    UnreadableVideo,
    VideoInfo,
    load_decoders,
    probe,
)

__all__ = [
    "BATCH",
    "EPSILON_S",
    "SUFFIXES",
    "OutsideVideo",
    "Reader",
    "UnreadableVideo",
    "VideoInfo",
    "cached_film",
    "grid_times",
    "inner_size",
    "load_decoders",
    "probe",
    "read_frames",
    "stream_frames",
]
