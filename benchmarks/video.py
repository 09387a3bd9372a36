"""Pictures read from video: ours against decord, PyAV, torchcodec and OpenCV, each as its user
would call it.

    python benchmarks/video.py [--seconds 40] [--rounds 3]

Three films are made in a temporary folder: 720p with a key frame every 250 frames and one with a
key frame every 30, as lessons are, and one as a phone makes it (1080p, turned by 90 degrees,
variable rate). Every frame carries its number in black and white bars, so that what a reader
returned is read off the picture. A clip is 8 pictures from 4 s; each reader opens the file for each
clip ("clip"), and then reads all clips' pictures at once ("all"). Readers take turns on the same
clip in one process; the ratio is the median over clips and rounds of the other's seconds over ours,
of the wall clock and of processor time. Peak memory is that of a process which does nothing but
read these clips with one reader. "exact": the share of pictures that are the frame on screen at the
wanted time, upright. "differs": the mean distance, in levels of 255, from the right frame at full
size averaged down by OpenCV. Last, two processes read all clips at the same time, as a stage's
workers do: clips a second of both together. That figure needs an idle machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import av
import cv2
import numpy as np

SIDE_PX, PICTURES, CLIPS, SPAN_S, BITS = 224, 8, 6, 4.0, 12
Read = Callable[[str, np.ndarray], list[np.ndarray]]

# -------------------------------------------------------------------------------------------- films


def draw(number: int, width: int, height: int, scene: np.ndarray) -> np.ndarray:
    """A panning scene with a moving ball, and the number in bars over the middle."""
    x, y = int(100 + 90 * np.sin(number / 25)), int(50 + 40 * np.cos(number / 40))
    image = np.ascontiguousarray(scene[y : y + height, x : x + width])
    centre = (
        int(width * (0.5 + 0.4 * np.sin(number / 7))),
        int(height * (0.5 + 0.3 * np.cos(number / 9))),
    )
    cv2.circle(image, centre, height // 8, (220, 40, 40), -1)
    for bit in range(BITS):
        left = width * bit // BITS
        image[height * 4 // 10 : height * 6 // 10, left : left + width // BITS] = 235 * (
            number >> bit & 1
        )
    return image


def number_of(picture: np.ndarray) -> int:
    """The number that the bars say: the picture is upright as it was drawn."""
    height, width = picture.shape[:2]
    row = picture[height // 2].mean(axis=-1)
    return sum((row[int((bit + 0.5) * width / BITS)] > 117) << bit for bit in range(BITS))


def make(
    path: Path, times_s: np.ndarray, size: tuple[int, int], options: dict[str, str], *, turned: bool
) -> None:
    """Encode as H.264; a turned film is stored lying on its side, with the turn in its header."""
    rng, (width, height) = np.random.default_rng(0), size
    scene = cv2.resize(
        rng.integers(40, 215, (18, 32, 3), dtype=np.uint8), (width + 200, height + 100)
    )
    scene = np.clip(scene + rng.integers(-4, 5, scene.shape), 0, 255).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height = (height, width) if turned else (width, height)
        stream.pix_fmt, stream.options = (
            "yuv420p",
            {"preset": "veryfast", "crf": "23", "sc_threshold": "0"} | options,
        )
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, at_s in enumerate(times_s):
            image = draw(number, width, height, scene)
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(np.rot90(image) if turned else image), format="rgb24"
            )
            frame.pts, frame.time_base = round(1000 * at_s), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if turned:
        content = bytearray(path.read_bytes())
        at = content.index(b"tkhd") + 44
        turn = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
        content[at : at + 36] = np.array(turn, ">i4").tobytes()
        path.write_bytes(bytes(content))


def films(folder: Path, seconds: float) -> dict[str, tuple[Path, np.ndarray, tuple[int, int]]]:
    """Name: file, true frame times, size as shown."""
    even = np.arange(int(30 * seconds)) / 30
    uneven = (
        np.cumsum(
            np.random.default_rng(1).choice([0.033, 0.033, 0.034, 0.05, 0.1], int(15 * seconds))
        )
        - 0.033
    )
    plans = {
        "long-GOP 720p": (even, (1280, 720), {"g": "250"}, False),
        "short-GOP 720p": (even, (1280, 720), {"g": "30"}, False),
        "phone 1080p": (uneven - uneven[0], (1080, 1920), {"g": "60", "bf": "0"}, True),
    }
    made = {}
    for name, (times_s, size, options, turned) in plans.items():
        path = folder / f"{name.split()[0]}.mp4"
        if not path.exists():
            make(path, times_s, size, options, turned=turned)
        made[name] = (path, np.round(times_s, 3), size)
    return made


# ------------------------------------------------------------------------------------------ readers


def fit(width: int, height: int) -> tuple[int, int]:
    scale = SIDE_PX / max(width, height)
    return round(width * scale), round(height * scale)


@cache
def probed(path: str) -> Any:
    """The file as 01 knows it: probed once (30 to 45 ms), whatever is read of it."""
    from sportskills_lib import video

    return video.probe(Path(path))


def ours(path: str, times_s: np.ndarray) -> list[np.ndarray]:
    from sportskills_lib import video

    return list(video.read_frames(probed(path), times_s, SIDE_PX))


def by_decord(path: str, times_s: np.ndarray) -> list[np.ndarray]:
    from sportskills_lib.video.probe import import_decord

    decord = import_decord()

    with av.open(path) as container:
        width, height = fit(container.streams.video[0].width, container.streams.video[0].height)
    reader = decord.VideoReader(path, width=width, height=height)
    index = (times_s * reader.get_avg_fps() + 1e-3).astype(int).clip(0, len(reader) - 1)
    return list(reader.get_batch(index).asnumpy())


def by_pyav(path: str, times_s: np.ndarray) -> list[np.ndarray]:
    pictures = []
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for at_s in times_s:
            container.seek(int(at_s / stream.time_base), stream=stream)
            shown = None
            for frame in container.decode(stream):
                if shown is not None and frame.time > at_s + 1e-4:
                    break
                shown = frame
            width, height = fit(shown.width, shown.height)
            pictures.append(shown.to_ndarray(format="rgb24", width=width, height=height))
    return pictures


def by_torchcodec(path: str, times_s: np.ndarray) -> list[np.ndarray]:
    from torchcodec.decoders import VideoDecoder

    frames = (
        VideoDecoder(path, dimension_order="NHWC")
        .get_frames_played_at(times_s.tolist())
        .data.numpy()
    )
    return [
        cv2.resize(frame, fit(frame.shape[1], frame.shape[0]), interpolation=cv2.INTER_AREA)
        for frame in frames
    ]


def by_opencv(path: str, times_s: np.ndarray) -> list[np.ndarray]:
    capture, pictures = cv2.VideoCapture(path), []
    for at_s in times_s:
        capture.set(cv2.CAP_PROP_POS_MSEC, 1000 * at_s)
        _, frame = capture.read()
        small = cv2.resize(frame, fit(frame.shape[1], frame.shape[0]), interpolation=cv2.INTER_AREA)
        pictures.append(small[:, :, ::-1])
    return pictures


READERS: dict[str, Read] = {
    "ours": ours,
    "decord": by_decord,
    "PyAV": by_pyav,
    "torchcodec": by_torchcodec,
    "OpenCV": by_opencv,
}

# ----------------------------------------------------------------------------------------- measures


def clips(times_s: np.ndarray) -> list[np.ndarray]:
    """The wanted times of each clip, in the middle of equal parts."""
    starts = np.random.default_rng(2).uniform(0, times_s[-1] - SPAN_S, CLIPS)
    return [start + SPAN_S * (np.arange(PICTURES) + 0.5) / PICTURES for start in np.sort(starts)]


def unboxed(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Our square without its black bars."""
    width, height = fit(*size)
    if picture.shape[:2] != (SIDE_PX, SIDE_PX):
        return picture
    top, left = (SIDE_PX - height) // 2, (SIDE_PX - width) // 2
    return picture[top : top + height, left : left + width]


def correctness(
    read: Read, path: Path, times_s: np.ndarray, size: tuple[int, int]
) -> tuple[float, float]:
    """Share of exact, upright pictures; and their mean distance from the right frame averaged
    down.
    """
    wanted = np.concatenate(clips(times_s))
    right = np.searchsorted(times_s, wanted + 1e-4, side="right") - 1
    pictures = [unboxed(picture, size) for picture in read(str(path), wanted)]
    upright = [picture.shape[:2] == fit(*size)[::-1] for picture in pictures]
    exact = [up and number_of(p) == n for up, p, n in zip(upright, pictures, right, strict=True)]
    with av.open(str(path)) as container:
        every = enumerate(container.decode(video=0))
        truth = {
            n: np.rot90(f.to_ndarray(format="rgb24"), f.rotation // 90)
            for n, f in every
            if n in set(right)
        }
    apart = [
        np.abs(
            cv2.resize(truth[n], fit(*size), interpolation=cv2.INTER_AREA).astype(int) - p
        ).mean()
        for n, p, fine in zip(right, pictures, exact, strict=True)
        if fine
    ]
    return float(np.mean(exact)), float(np.mean(apart)) if apart else float("nan")


def seconds(read: Read, path: Path, wanted: np.ndarray) -> tuple[float, float]:
    """Wall clock and processor seconds of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    read(str(path), wanted)
    return time.perf_counter() - wall, time.process_time() - processor


def peak_mib(name: str, path: Path, times_s: np.ndarray) -> float:
    """Peak memory of a process of its own that reads all clips one by one, in MiB, as it says at
    its end.
    """
    command = [sys.executable, __file__, "--alone", name, str(path), str(float(times_s[-1]))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return float(done.stdout.split()[-1])


def alone(name: str, path: str, end_s: float) -> None:
    """The work of :func:`peak_mib`."""
    for wanted in clips(np.array([end_s])):
        READERS[name](path, wanted)
    status = Path(
        "/proc/self/status"
    ).read_text()  # getrusage would also count what the parent held when it forked
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def together(name: str, path: Path, times_s: np.ndarray, barrier: Any, rates: Any) -> None:
    """One of two processes: its own clips a second, put into ``rates``, once both have read a first
    clip.
    """
    READERS[name](str(path), clips(times_s)[0])
    barrier.wait()
    start = time.perf_counter()
    for wanted in clips(times_s):
        READERS[name](str(path), wanted)
    rates.put(CLIPS / (time.perf_counter() - start))


def pair_rate(name: str, path: Path, times_s: np.ndarray) -> float:
    """Clips a second of two processes that read at the same time."""
    context = multiprocessing.get_context("spawn")
    barrier, rates = context.Barrier(2), context.Queue()
    pair = [
        context.Process(target=together, args=(name, path, times_s, barrier, rates))
        for _ in range(2)
    ]
    for process in pair:
        process.start()
    rate = sum(rates.get(timeout=300) for _ in pair)
    for process in pair:
        process.join()
    return rate


def compare(name: str, path: Path, times_s: np.ndarray, size: tuple[int, int], rounds: int) -> None:
    """Print one film's table."""
    readers, right = {}, {}
    for reader, read in READERS.items():
        try:
            right[reader] = correctness(read, path, times_s, size)
            readers[reader] = read
        except Exception as error:
            print(
                f"{name}: {reader} cannot: {type(error).__name__}: "
                f"{' '.join(str(error).split())[:100]}"
            )
    asked = [*clips(times_s), np.concatenate(clips(times_s))]
    taken = {reader: np.zeros((rounds, len(asked), 2)) for reader in readers}
    for turn in range(rounds):
        for place, wanted in enumerate(asked):
            for reader, read in readers.items():
                taken[reader][turn, place] = seconds(read, path, wanted)
    print(f"\n{name}: {len(times_s)} frames, {path.stat().st_size / 2**20:.1f} MiB")
    print(
        "reader       clips/s  wall ratio  cpu ratio | all: wall ratio  cpu ratio | peak "
        "MiB  exact  differs"
    )
    for reader, values in taken.items():
        ratio = values / taken["ours"]
        one, every = np.median(ratio[:, :-1], axis=(0, 1)), np.median(ratio[:, -1], axis=0)
        rate = 1 / np.median(values[:, :-1, 0])
        print(
            f"{reader:<11} {rate:8.2f} {one[0]:11.2f} {one[1]:10.2f} | {every[0]:15.2f} "
            f"{every[1]:10.2f} | "
            f"{peak_mib(reader, path, times_s):8.0f} {right[reader][0]:6.2f} "
            f"{right[reader][1]:8.2f}"
        )
    rates = {each: [] for each in ("ours", "decord") if each in readers}
    for _ in range(rounds):  # in turns
        for each, found in rates.items():
            found.append(pair_rate(each, path, times_s))
    print(
        "two processes: clips/s "
        + ", ".join(f"{each} {np.median(found):.2f}" for each, found in rates.items())
    )


def main() -> None:
    """Make the films, compare the readers, print."""
    if "--alone" in sys.argv:
        alone(sys.argv[2], sys.argv[3], float(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="length of each film")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--films", type=Path, help="keep the films here, and use those that are there"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.films or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print(
            f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {given.rounds} rounds of "
            f"{CLIPS} clips"
        )
        for name, (path, times_s, size) in films(folder, given.seconds).items():
            compare(name, path, times_s, size, given.rounds)


if __name__ == "__main__":
    main()
