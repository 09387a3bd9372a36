"""docs/learners.md shows what is said of one untidy source of each format: these lines, word for
word.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from learner_files import (
    copy_video,
    item,
    judged,
    labelled,
    proficiency,
    question,
    remark,
    take,
    tried,
    write_csv,
    write_egoexo,
    write_exact,
    write_fitness,
    write_qevd,
)

from sportskills_lib.learner_data import read_learners

SPORTS = ("tennis", "basketball", "judo")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "learners.md"


def egoexo(folder, video):
    copy_video(
        video, *(folder / f"takes/{name}/frame_aligned_videos/cam01.mp4" for name in "abcde")
    )
    takes = [
        take("a", 1),
        take("b", 2),
        take("b", 3),
        take("c", 1),
        take("d", 4, task="Cooking an Omelet"),
    ]
    takes += [take("e", 5), take("lost", 6)]
    said = {
        "a": [
            remark(1.0, "the elbow drops"),
            remark(1.0, "and the wrist"),
            remark("soon", "?"),
            remark(60.0, "late"),
            remark(4.0, "uh", error=True, _error_desc="audio was cut off"),
        ],
        "b": [remark(2.0, "which of the two?")],
        "d": [remark(2.0, "more salt")],
        "lost": [remark(2.0, "who?")],
    }
    moments = [
        proficiency("e", [item(3.0, "well done"), item(5.0, "quick feet")], [item(3.0, "slower")])
    ]
    return write_egoexo(
        folder,
        takes,
        {"train": said, "test": {"c": [remark(3.0, "toss it higher")]}},
        {"train": moments},
    )


def exact(folder, video):
    rows = [
        question(1),
        question(1),
        question(2, is_ge="perhaps"),
        question(3, file_name="lost.mp4"),
        question(4, file_name="../outside.mp4"),
        question(5, good=True),
        question(5),
        question(6, groundTruth=""),
        question(7),
    ]
    source = write_exact(folder / "exact", rows)
    copy_video(video, *(source.parent / row["file_name"] for row in rows[:-2]))
    source.write_text(source.read_text() + "{broken\n")
    (source.parent / "lost.mp4").unlink()
    (source.parent / rows[-1]["file_name"]).write_bytes(b"no video")
    return source


def table(folder, video):
    copy_video(video, folder / "a.mp4", folder / "b.mp4")
    rows = [
        tried("a.mp4", participant="Ann", split="test"),
        tried("a.mp4", comment="look at it", participant="Ann"),
        tried("b.mp4", participant="ann", split="train"),
        tried("b.mp4", 3, 1),
        tried("b.mp4", 4, 60),
        tried("c.mp4"),
        tried("b.mp4", 0, 2, sport="tenis"),
        tried("b.mp4", "nan"),
        tried("b.mp4", 1, 5, is_mistake="yes"),
        tried("b.mp4", 1, 5, is_mistake="no"),
        tried("b.mp4", 2, 4, comment=""),
    ]
    return write_csv(folder / "tries.csv", rows)


def fitness(folder, _):
    back = {"Keep your back straight.": False}
    entries = {
        "recA_action_1": judged(record="recA", ann=back, ben=back),
        "recA_action_2": judged(record="recA", ann=back, frames=(120, 31)),
        "recA_action_3": judged(record="recA", ann=back, frames=(31, 9000)),
        "recA_action_4": judged(record="recA", ann=[["Cross your feet.", "maybe"]]),
        "../recA_action_5": judged(record="recA", ann=back),
        "recB_action_1": judged(record="recB", ann=back),
        "recC_action_1": judged(record="../../recC", ann=back),
    }
    return write_fitness(folder, entries, {"recA": "0925-Jianan"})


def qevd(folder, video):
    names = "0123"
    copy_video(video, *(folder / f"short_clips/0000000{name}.mp4" for name in names))
    copy_video(video, folder / "long_range_videos/0000.mp4")
    rows = [
        labelled("00000000", "pushups - hips too low"),
        labelled("00000001", "squats - average"),
        labelled("00000002", "squats - too high", "lunges - too fast"),
        labelled("00000003", "squats - too high", split="holdout"),
        labelled("lost", "squats - too high"),
    ]
    workout = {
        "long_range_video_file": "./long_range_videos/0000.mp4",
        "feedbacks": [""] * 60 + ["Push your knees out."] * 9 + [""] * 9 + ["Great job!"] * 9,
        "is_transition": [False, False],
    }
    return write_qevd(folder, rows, workouts=[workout])


@pytest.mark.parametrize(
    ("write", "learners"), [(egoexo, 2), (exact, 1), (fitness, 1), (qevd, 2), (table, 1)]
)
def test_the_page_shows_what_is_said(tmp_path, six_seconds, write, learners):
    kept, dropped = read_learners(
        write(tmp_path, six_seconds),
        span_s=3.0,
        sports=[*SPORTS, *["fitness"] * (write in (fitness, qevd))],
    )
    said = [
        f"    {reason}  {name}: {detail}"
        for _, name, reason, detail in dropped.sort("item_id", "reason").rows()
    ]
    said = [
        line.partition(" (InvalidData")[0] for line in said
    ]  # what the decoder adds has the file's whole path
    lines = PAGE.read_text().splitlines()
    missing = [line for line in said if line not in lines]
    assert kept.height == learners and not missing, "docs/learners.md should say:\n" + "\n".join(
        said
    )
