"""Speech recognition for videos without captions: sound through Whisper into segments that caption
readers know.

Any Whisper checkpoint that transformers loads serves, from a folder or the hub. Sound is read in
windows of at most half a minute, cut where it is quietest, so that neither memory nor the model's
context grows with the video. Word times are used where the checkpoint can give them (its generation
config names alignment heads), else times of phrases.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from sportskills_lib.formats.files import write_whole
from sportskills_lib.formats.untrusted_json import UnusableRow

RATE_HZ = 16_000  # what Whisper was trained on
WINDOW_S, SEARCH_S, QUIET_S = (
    30.0,
    5.0,
    0.2,
)  # longest window; its last part, where a quiet place is looked for

SUFFIX = ".recognised.json"  # of transcripts made here; segments, as :mod:`.captions` reads them

Recogniser = Callable[[np.ndarray], list[dict[str, Any]]]


def read_sound(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """(start in seconds, mono float32 samples at 16 kHz) of each window. UnusableRow without sound
    that can be decoded.
    """
    longest = round(WINDOW_S * RATE_HZ)
    pieces, count, at = list[np.ndarray](), 0, None
    for start_s, samples in _decoded(path):
        at = start_s if at is None else at
        pieces.append(samples)
        count += len(samples)
        while count >= longest:
            held = np.concatenate(pieces)
            cut = _quietest(held[:longest])
            yield at, held[:cut]
            at, pieces, count = at + cut / RATE_HZ, [held[cut:]], count - cut
    if at is None:
        raise UnusableRow("no_sound", f"{path.name}: its sound track is empty")
    if count:
        yield at, np.concatenate(pieces)


def _decoded(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """Pieces of sound with their times; what a damaged file holds before the damage is given."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise UnusableRow("no_sound", f"{path.name} has no sound track and no captions")
            for frame in container.decode(container.streams.audio[0]):
                start_s = max(float(frame.time or 0.0), 0.0)
                for piece in resampler.resample(frame):
                    yield start_s, piece.to_ndarray().reshape(-1).astype(np.float32, copy=False)
    except (av.FFmpegError, OSError) as error:
        raise UnusableRow("unreadable_sound", f"{path.name}: {error}") from None


def _quietest(window: np.ndarray) -> int:
    """Where to cut a full window: the middle of the quietest fifth of a second near its end."""
    step = round(QUIET_S * RATE_HZ)
    tail = window[-round(SEARCH_S * RATE_HZ) :]
    loudness = np.square(tail[: len(tail) // step * step].reshape(-1, step)).mean(axis=1)
    return len(window) - len(tail) + int(loudness.argmin()) * step + step // 2


def load_recogniser(model: str, *, language: str = "en") -> Recogniser:
    """A function from one window of samples to segments [{text, timestamp: [start_s, end_s]}].

    ``model`` is a folder or a hub name of a Whisper checkpoint. ``language`` is told to
    multilingual ones. ValueError when it cannot be loaded.
    """
    import torch
    from transformers import WhisperForConditionalGeneration, WhisperProcessor, pipeline

    try:
        network: Any = WhisperForConditionalGeneration.from_pretrained(model)
        processor: Any = WhisperProcessor.from_pretrained(model)
    except (OSError, ValueError) as error:
        remedy = "name a folder or a hub id of a Whisper checkpoint"
        raise ValueError(f"speech_model {model!r} cannot be loaded ({error}): {remedy}") from None
    settings = network.generation_config
    words = "word" if getattr(settings, "alignment_heads", None) else True
    spoken = (
        {"language": language.split("-")[0].lower(), "task": "transcribe"}
        if getattr(settings, "is_multilingual", False)
        else {}
    )
    pipe = pipeline(
        "automatic-speech-recognition",
        model=network.eval(),
        tokenizer=processor.tokenizer,
        feature_extractor=processor.feature_extractor,
        device=0 if torch.cuda.is_available() else -1,
    )

    def recognise(samples: np.ndarray) -> list[dict[str, Any]]:
        sound = {"raw": samples, "sampling_rate": RATE_HZ}
        answer: Any = pipe(sound, return_timestamps=words, generate_kwargs=spoken)
        return list(answer.get("chunks") or [])

    return recognise


def transcribe(path: Path, recognise: Recogniser, target: Path) -> None:
    """Write what is said in the video ``path`` to ``target``, as JSON segments. UnusableRow when
    nothing is heard.
    """
    segments = []
    for start_s, samples in read_sound(path):
        length_s = len(samples) / RATE_HZ
        for heard in recognise(samples):
            begin, end = (
                min(max(at, 0.0), length_s) if at is not None else None for at in heard["timestamp"]
            )
            if begin is not None and heard["text"].strip():
                until = max(length_s if end is None else end, begin + 0.01)
                segments.append(
                    {"start": start_s + begin, "end": start_s + until, "text": heard["text"]}
                )
    if not segments:
        raise UnusableRow(
            "no_speech", f"nothing is said in {path.name}, as far as the recogniser hears"
        )
    write_whole(target, json.dumps({"segments": segments}))
