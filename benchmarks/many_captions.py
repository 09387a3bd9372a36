"""Stage 01 over many generated videos: how fast, and in how much memory?

Makes a folder in yt-dlp's layout below ``--folder`` (rolling and plain WebVTT, SRT, json3), then
does what notebook 01 does: begin, curate, figures, save. In the path: finding files, sidecars,
captions, sentences, the rules judge, checks and tables. The videos themselves are hard links to
tiny films (a grey frame every ten seconds): opening a real video costs more than its captions.
Memory is the sum of the proportional set sizes of this process and its workers, sampled twice a
second, and the highest resident size of this process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np

LENGTH_S = 300
SUBJECTS = (
    "your knees",
    "the elbow",
    "your hips",
    "the racket",
    "your weight",
    "the left foot",
    "your shoulders",
)
ACTS = (
    "bend",
    "keep",
    "turn",
    "drop",
    "push",
    "lift",
    "don't rush",
    "notice",
    "we filmed",
    "I bought",
    "welcome to",
)
ENDS = (
    "before you swing",
    "so the ball goes straight",
    "at the top",
    "in this video",
    "as low as you can",
    "last year",
)
SKILLS = (("tennis", "serve"), ("judo", "throw"), ("handball", "jump shot"), ("sprinting", "start"))


def film(path: Path) -> None:
    """Five minutes of grey in a few kilobytes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for i in range(0, LENGTH_S + 1, 10):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 100, np.uint8), format="rgb24")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def stamp(seconds: float, point: str = ".") -> str:
    milliseconds = round(seconds * 1000)
    whole, rest = divmod(milliseconds, 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{point}{rest:03d}"


def lines(draw: random.Random) -> list[tuple[float, float, str]]:
    """What is said: a line every four to six seconds."""
    said, at = [], draw.uniform(0, 3)
    while at < LENGTH_S - 6:
        text = f"{draw.choice(ACTS)} {draw.choice(SUBJECTS)} {draw.choice(ENDS)}"
        length = draw.uniform(2.0, 3.5)
        said.append((at, at + length, text))
        at += length + draw.uniform(0.4, 2.5)
    return said


def rolling(said: list[tuple[float, float, str]]) -> str:
    cues, before = [], " "
    for start, end, text in said:
        first, *rest = text.split()
        step = (end - start) / (len(rest) + 1)
        tagged = first + "".join(
            f"<{stamp(start + step * (i + 1))}><c> {word}</c>" for i, word in enumerate(rest)
        )
        cues.append(f"{stamp(start)} --> {stamp(end)} align:start position:0%\n{before}\n{tagged}")
        cues.append(f"{stamp(end)} --> {stamp(end + 0.01)} align:start position:0%\n{text}\n ")
        before = text
    return "WEBVTT\nKind: captions\nLanguage: en\n\n" + "\n\n".join(cues) + "\n"


def captions(kind: int, said: list[tuple[float, float, str]]) -> tuple[str, str]:
    """(suffix, text): six in ten rolling, two WebVTT, one SRT, one json3."""
    if kind < 6:
        return "vtt", rolling(said)
    if kind < 8:
        return "vtt", "WEBVTT\n\n" + "\n\n".join(
            f"{stamp(a)} --> {stamp(b)}\n{text.capitalize()}." for a, b, text in said
        )
    if kind == 8:
        cues = (
            f"{i}\n{stamp(a, ',')} --> {stamp(b, ',')}\n{text.capitalize()}."
            for i, (a, b, text) in enumerate(said, 1)
        )
        return "srt", "\n\n".join(cues)
    events = [
        {"tStartMs": int(a * 1000), "dDurationMs": int((b - a) * 1000), "segs": [{"utf8": t}]}
        for a, b, t in said
    ]
    return "json3", json.dumps({"wireMagic": "pb3", "events": events})


def generate(folder: Path, count: int) -> None:
    """``count`` videos with sidecars and captions; a thousand a subfolder, each with a film of its
    own to link to.
    """
    for first in range(0, count, 1000):
        part = folder / f"{first // 1000:04d}"
        part.mkdir(parents=True)
        tiny = part / f"v{first:07d}.mp4"
        film(tiny)
        for i in range(first, min(first + 1000, count)):
            name, draw = f"v{i:07d}", random.Random(i)
            sport, skill = SKILLS[i % len(SKILLS)]
            if i > first:
                os.link(tiny, part / f"{name}.mp4")
            info = {
                "id": name,
                "title": f"{skill} {i}",
                "channel_id": f"UC{i % 997}",
                "duration": LENGTH_S,
                "language": "en",
                "tags": [sport, skill],
                "automatic_captions": {"en": []},
            }
            (part / f"{name}.info.json").write_text(json.dumps(info))
            suffix, text = captions(i % 10, lines(draw))
            (part / f"{name}.en.{suffix}").write_text(text)


class Memory(threading.Thread):
    """The highest sum of proportional set sizes of this process and its children, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.over = 0, False

    def run(self) -> None:
        while not self.over:
            self.peak = max(self.peak, sum(map(pss, [os.getpid(), *children(os.getpid())])))
            time.sleep(0.5)


def children(parent: int) -> list[int]:
    try:
        return [
            int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        ]
    except OSError:
        return []


def pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def main() -> int:
    """Generate where the folder is missing, run, print rate and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--folder", type=Path, required=True, help="where the videos are made")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from sportskills_lib import tables
    from sportskills_lib.config import CurationConfig
    from sportskills_lib.curation import figures
    from sportskills_lib.curation.stage import curate
    from sportskills_lib.runs import artifacts

    source = asked.folder / "lessons"
    if not source.is_dir():
        started = time.perf_counter()
        generate(source, asked.count)
        print(
            f"generated {asked.count} videos in {time.perf_counter() - started:.0f} s", flush=True
        )
    shutil.rmtree(artifacts.run_folder("many"), ignore_errors=True)
    memory = Memory()
    memory.start()
    started = time.perf_counter()
    config = CurationConfig(source=str(source), workers=asked.workers)
    stage = artifacts.begin("many", "01_curation", config, source=source)
    begun = time.perf_counter()
    curated = curate(source, config, shards=stage.shards)
    read = time.perf_counter()
    figures.funnel(curated)
    figures.per_sport(curated.videos, curated.scan())
    figures.examples(curated.scan(), actionable=True)
    stage.save("videos", curated.videos, tables.Videos)
    stage.save_scan("narrations", curated.scan())
    headline = curated.headline()
    stage.finish(dropped=curated.dropped, **headline)
    ended = time.perf_counter()
    memory.over = True
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(headline, flush=True)
    print(
        f"begin {begun - started:.1f} s, curate {read - begun:.1f} s, figures and tables "
        f"{ended - read:.1f} s: "
        f"{curated.videos.height / (ended - started):.0f} videos a second"
    )
    print(
        f"peak memory: {memory.peak / 2**30:.2f} GiB with the workers, {own:.2f} GiB resident here"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
