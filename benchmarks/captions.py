"""Caption files a second: our parser beside webvtt-py and pysubs2, over the same WebVTT and SRT
files.

Each reads every file from disk to (start in ms, end in ms, text without tags) of every cue. Runs
alternate, ours and theirs in turn, and the median of the ratios within a pair is told, since other
work on the machine then meets both. The cues are compared first; a file that another reads
otherwise, or not at all, is counted and left out of the timing. Peak memory is that of a process of
its own for each reader.
"""

from __future__ import annotations

import argparse
import html
import logging
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

Cues = list[tuple[int, int, str]]


def flat(text: str) -> str:
    return " ".join(text.split())


TAG = re.compile(r"</?[A-Za-z][^<>]*>|<[\d:.,]+>|</?>|\{\\[^{}]*\}")


def without_tags(text: str) -> str:
    return html.unescape(TAG.sub("", text))


def ours(path: Path) -> Cues:
    from sportskills_lib.curation.captions.caption_reader import read_cues

    return [
        (round(cue.start_s * 1000), round(cue.end_s * 1000), flat(without_tags(cue.text)))
        for cue in read_cues(path).cues
    ]


def webvtt_py(path: Path) -> Cues:
    import webvtt

    read = webvtt.from_srt if path.suffix == ".srt" else webvtt.read
    return [
        (cue.start_time.in_milliseconds(), cue.end_time.in_milliseconds(), flat(cue.text))
        for cue in read(str(path))
    ]


def pysubs2(path: Path) -> Cues:
    import pysubs2 as package

    return [
        (cue.start, cue.end, flat(cue.plaintext))
        for cue in package.load(str(path), encoding="utf-8")
    ]


READERS: dict[str, Callable[[Path], Cues]] = {
    "ours": ours,
    "webvtt-py": webvtt_py,
    "pysubs2": pysubs2,
}


def seconds(read: Callable[[Path], Cues], paths: list[Path]) -> float:
    started = time.perf_counter()
    for path in paths:
        read(path)
    return time.perf_counter() - started


def agreeing(other: str, paths: list[Path]) -> tuple[list[Path], list[str]]:
    """Files that both read to the same cues, and what is otherwise in the rest."""
    same, odd = [], []
    for path in paths:
        mine = [cue for cue in ours(path) if cue[2]]
        try:
            theirs = [cue for cue in READERS[other](path) if cue[2]]
        except Exception as error:
            odd.append(f"{path.name}: {type(error).__name__}")
            continue
        if mine == theirs:
            same.append(path)
        else:
            odd.append(f"{path.name}: {len(theirs)} cues, ours {len(mine)}")
    return same, odd


def main() -> int:
    """Compare, time in pairs, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", type=Path, help=("a folder with .vtt and .srt files, at any depth")
    )
    parser.add_argument("--limit", type=int, default=300, help="files at most")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument(
        "--alone",
        choices=list(READERS),
        help="read once with this reader and print the peak memory",
    )
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    paths = sorted(path for path in asked.folder.rglob("*") if path.suffix in (".vtt", ".srt"))[
        : asked.limit
    ]
    if asked.alone:
        for path in paths:
            try:
                READERS[asked.alone](path)
            except Exception:
                continue
        highest = next(
            line
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )
        print(f"{asked.alone}: peak memory {int(highest.split()[1]) / 1024:.1f} MiB")
        return 0
    for other in ("webvtt-py", "pysubs2"):
        same, odd = agreeing(other, paths)
        print(
            f"{other}: {len(same)} of {len(paths)} files read alike; otherwise: "
            f"{'; '.join(odd[:12]) or 'none'}"
        )
        if not same:
            continue
        pairs = [(seconds(READERS[other], same), seconds(ours, same)) for _ in range(asked.pairs)]
        theirs, mine = (len(same) / statistics.median(times) for times in zip(*pairs, strict=True))
        ratios = sorted(them / us for them, us in pairs)
        print(
            f"  ours {mine:.0f} files a second, {other} {theirs:.0f}; ratio "
            f"{statistics.median(ratios):.2f} "
            f"(from {ratios[0]:.2f} to {ratios[-1]:.2f} over {len(pairs)} pairs)",
            flush=True,
        )
    for name in READERS:
        command = [
            sys.executable,
            __file__,
            str(asked.folder),
            "--limit",
            str(asked.limit),
            "--alone",
            name,
        ]
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
