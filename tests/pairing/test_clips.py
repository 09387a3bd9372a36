"""Stage 02 as a whole: what is taught and shown is kept, with its frames, whatever reads it; and
the real lessons.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from films import REAL, needs_real, shot, write_film, write_lesson

from sportskills_lib import tables, video
from sportskills_lib.apps.audit.judge_vs_spans import audit_demonstrations
from sportskills_lib.config import CurationConfig, PairingConfig
from sportskills_lib.curation.stage import curate
from sportskills_lib.pairing import figures, stage, video_pass

HELLO = ("Hello and welcome back to my channel.", False)
IS_DEMONSTRATED = ("Bend your knees and drop the hips before contact.", True)
FAULT = ("A common mistake is locking the front elbow.", True)
TALKED = ("Keep your chin over the front shoulder.", False)
IDLE = ("Last summer we filmed this with my brother.", True)
CONFIG = PairingConfig(workers=0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame, pl.DataFrame]:
    """Three channels and a mirrored, re-encoded re-upload, curated."""
    folder = tmp_path_factory.mktemp("world") / "lessons"
    for i, channel in enumerate(("UCa", "UCb", "UCc")):
        write_lesson(
            folder,
            f"lesson{i}",
            [HELLO, IS_DEMONSTRATED, TALKED, FAULT, IDLE],
            channel=channel,
            seed=10 * i,
        )
    write_lesson(
        folder,
        "copy",
        [HELLO, IS_DEMONSTRATED, TALKED, FAULT, IDLE],
        channel="UCd",
        seed=10,
        upload_date="20250101",
        mirrored=True,
        crf=30,
    )
    curated = curate(folder, CurationConfig(workers=0))
    return folder, curated.videos, curated.narrations


def pair(
    world: tuple[Path, pl.DataFrame, pl.DataFrame], shards: Path, config: PairingConfig = CONFIG
) -> stage.PairingTables:
    folder, videos, narrations = world
    return stage.pair(videos, narrations, folder, config, shards=shards)


def test_what_is_taught_and_shown_is_kept(world, tmp_path: Path) -> None:
    paired = pair(world, tmp_path)
    spans = paired.clips.select(
        "video_id", "start_s", "end_s", pl.col("demonstration").cast(pl.String)
    ).rows()
    assert spans == [
        (f"lesson{i}", start, start + 3.0, kind)
        for i in range(3)
        for start, kind in ((3.0, "correct"), (9.0, "incorrect"))
    ]
    texts = paired.pairs.join(world[2], on="narration_id", maintain_order="left")["text"].to_list()
    assert texts == [IS_DEMONSTRATED[0], FAULT[0]] * 3
    counts = dict(paired.dropped.group_by("reason").len().iter_rows())
    assert counts == {"no_demonstration": 4, "duplicate": 2}
    assert set(paired.clips["split"].cast(pl.String)) == {"train", "val", "test"}


def test_tables_and_frames_do_not_depend_on_workers_and_memory(
    world, tmp_path: Path, monkeypatch
) -> None:
    whole = pair(world, tmp_path / "a")
    shape = stage.write_frames(tmp_path / "a.npy", whole, CONFIG, shards=tmp_path / "a")
    monkeypatch.setattr(video_pass, "BUFFER_BYTES", 1)  # as for a video too long to hold
    again = pair(world, tmp_path / "b")
    stage.write_frames(tmp_path / "b.npy", again, CONFIG, shards=tmp_path / "b")
    two = pair(world, tmp_path / "c", PairingConfig(workers=2))
    stage.write_frames(tmp_path / "c.npy", two, CONFIG, shards=tmp_path / "c")
    frames = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert frames.shape == shape == (6, 8, 64, 64, 3)
    for name, other in (("b", again), ("c", two)):
        np.testing.assert_array_equal(frames, np.load(tmp_path / f"{name}.npy"))
        assert whole.clips.equals(other.clips)
        assert whole.judged.equals(other.judged)
        assert whole.dropped.equals(other.dropped)


def test_frames_are_those_of_their_clip(world, tmp_path: Path) -> None:
    paired = pair(world, tmp_path)
    stage.write_frames(tmp_path / "frames.npy", paired, CONFIG, shards=tmp_path)
    frames = np.load(tmp_path / "frames.npy")
    for row, clip in enumerate(paired.clips.iter_rows(named=True)):
        times = np.linspace(clip["start_s"] + 0.15, clip["end_s"] - 0.15, 40)
        film = video.read_frames(
            video.probe(world[0] / f"{clip['video_id']}.mp4"), times, 64
        ).astype(int)
        for frame in frames[row]:
            # 96 to 64 pixels: decord2's filter is softer than PyAV's (1.6 of 255 between them)
            assert np.abs(film - frame).mean(axis=(1, 2, 3)).min() < 2


class Sure:
    """A chat client that calls everything correct, and counts."""

    model, asked = "stub", 0

    def ask_many(self, prompts, schema, /):
        self.asked += len(prompts)
        answers = [
            schema(demonstration="correct", confidence=0.4 if "mistake" in each.user else 0.9)
            for each in prompts
        ]
        return [type("Answer", (), {"value": value})() for value in answers]


def test_a_model_judges_what_teaches_and_is_asked_once(world, tmp_path: Path) -> None:
    folder, videos, narrations = world
    config, client = PairingConfig(workers=0, judge="chat"), Sure()
    paired = stage.pair(videos, narrations, folder, config, shards=tmp_path, chat=client)
    taught = paired.judged.filter(pl.col("said") != "none")
    assert client.asked == taught.height == 12
    assert set(paired.clips["verifier"]) == {"chat-1 stub"}
    assert set(paired.clips["demonstration"].cast(pl.String)) == {"correct"}
    undecided = paired.dropped.filter(pl.col("reason") == "undecided")
    assert set(undecided["item_id"]) == set(taught.filter(pl.col("undecided"))["clip_id"])
    assert undecided.height == 4
    shape = stage.write_frames(tmp_path / "frames.npy", paired, config, shards=tmp_path)
    assert shape[0] == paired.clips.height > 0
    again = stage.pair(videos, narrations, folder, config, shards=tmp_path, chat=client)
    assert client.asked == 12  # found in the shards
    assert again.judged.equals(paired.judged)


def test_a_video_that_turns_unreadable_is_dropped(world, tmp_path: Path) -> None:
    folder, videos, narrations = world
    broken = videos.with_columns(
        path=pl.when(pl.col("video_id") == "lesson1")
        .then(pl.lit("lesson1.info.json"))
        .otherwise("path")
    )
    paired = stage.pair(broken, narrations, folder, CONFIG, shards=tmp_path)
    assert "lesson1" not in set(paired.clips["video_id"])
    assert ("video", "lesson1", "unreadable") in paired.dropped.select(
        "item_kind", "item_id", "reason"
    ).rows()


def test_nothing_taught_gives_empty_tables(world, tmp_path: Path) -> None:
    folder, videos, narrations = world
    paired = stage.pair(
        videos, narrations.with_columns(actionable=False), folder, CONFIG, shards=tmp_path
    )
    assert paired.clips.is_empty()
    assert paired.pairs.is_empty()
    assert stage.write_frames(tmp_path / "frames.npy", paired, CONFIG, shards=tmp_path) == (
        0,
        8,
        64,
        64,
        3,
    )
    assert np.load(tmp_path / "frames.npy").shape == (0, 8, 64, 64, 3)
    figures.funnel(paired).canvas.draw()
    figures.motion(paired.judged).canvas.draw()


def test_figures_are_drawn_and_strangers_words_stay_text(world, tmp_path: Path) -> None:
    paired = pair(world, tmp_path)
    stage.write_frames(tmp_path / "frames.npy", paired, CONFIG, shards=tmp_path)
    hostile = world[2].with_columns(text=pl.lit(r"$\frac{1}{0}$ <script>alert(1)</script> \x07"))
    frames = np.load(tmp_path / "frames.npy", mmap_mode="r")
    sheet = figures.contact_sheet(paired.clips, paired.pairs, hostile, frames)
    sheet.savefig(tmp_path / "sheet.svg")
    assert "<script>" not in (tmp_path / "sheet.svg").read_text()
    assert figures.per_sport(paired.clips).row(0) == ("tennis", 3, 6, 3, 3, 2, 2, 2)
    figures.funnel(paired).savefig(tmp_path / "funnel.png")
    figures.motion(paired.judged).savefig(tmp_path / "motion.png")


def test_a_planted_leak_is_caught(world, tmp_path: Path) -> None:
    paired = pair(world, tmp_path)
    leak = paired.clips.with_columns(
        split=pl.when(pl.int_range(pl.len()) == 0)
        .then(pl.lit("train"))
        .otherwise(pl.lit("test"))
        .cast(pl.Enum(tables.SPLITS))
    )
    with pytest.raises(ValueError, match="is in the splits test, train"):
        stage._check(replace(paired, clips=leak), world[1], world[2])


def lesson_of(
    folder: Path, name: str, said: list[tuple[str, bool]], channel: str, seed: int, date: str
) -> None:
    write_lesson(folder, name, said, channel=channel, seed=seed, upload_date=date)


def test_one_film_under_other_words_joins_channels_and_a_straddle_is_caught(
    tmp_path: Path, monkeypatch
) -> None:
    """Both lessons stay, in one split, and without the joining the check finds the leak."""
    folder = tmp_path / "lessons"
    other = ("Turn the shoulder away and push from the back foot.", True)
    for i in range(5):
        lesson_of(
            folder, f"lesson{i}", [HELLO, IS_DEMONSTRATED, TALKED], f"UC{i}", 10 * i, "20240101"
        )
    lesson_of(folder, "again", [HELLO, other, TALKED], "UCagain", 10, "20250101")
    curated = curate(folder, CurationConfig(workers=0))
    paired = stage.pair(curated.videos, curated.narrations, folder, CONFIG, shards=tmp_path / "a")
    assert paired.links.filter(pl.col("verdict") == "same_pictures").select(
        "clip_id", "other_id"
    ).rows() == [("again:003000-006000", "lesson1:003000-006000")]
    split = dict(paired.clips.select("video_id", pl.col("split").cast(pl.String)).rows())
    assert len(split) == 6 and split["again"] == split["lesson1"]
    monkeypatch.setattr(stage.group_splits, "channel_groups", lambda *_: None)
    apart = {"UC1": "train", "UCagain": "test"}
    monkeypatch.setattr(
        stage.group_splits,
        "assign_splits",
        lambda kept, **_: ({c: apart.get(c, "val") for c in kept["channel"]}, []),
    )
    with pytest.raises(ValueError, match=r"show the same pictures: a split must hold all copies"):
        stage.pair(curated.videos, curated.narrations, folder, CONFIG, shards=tmp_path / "b")


def test_a_shared_intro_joins_nothing(tmp_path: Path) -> None:
    """The same film under a greeting in every lesson: it is no clip, so it is not compared."""
    folder = tmp_path / "lessons"
    for i in range(3):
        write_lesson(
            folder, f"lesson{i}", [("", True), IS_DEMONSTRATED], channel=f"UC{i}", seed=10 * i
        )
        intro = np.concatenate([shot(99, 30, moves=True), shot(10 * i + 1, 30, moves=True)])
        write_film(folder / f"lesson{i}.mp4", intro)
    curated = curate(folder, CurationConfig(workers=0))
    paired = stage.pair(
        curated.videos, curated.narrations, folder, CONFIG, shards=tmp_path / "shards"
    )
    assert paired.clips["start_s"].to_list() == [3.0, 3.0, 3.0]
    assert set(paired.links["verdict"]) <= {"different"}


@needs_real
@pytest.mark.real
def test_real_lessons(tmp_path: Path) -> None:
    """The figures of the first form; push-ups were tuned on, the rest was not."""
    curated = curate(REAL / "lessons", CurationConfig(workers=2))
    paired = stage.pair(
        curated.videos,
        curated.narrations,
        REAL / "lessons",
        PairingConfig(workers=2),
        shards=tmp_path,
    )
    assert not set(paired.clips["video_id"]) & {"handWash000", "tennisTalk0"}
    truth = pl.read_ndjson(REAL / "lessons" / "segments.jsonl")
    tuned = pl.col("video_id").str.starts_with("pushUp")
    for rows in (tuned, ~tuned):
        judged, true = paired.judged.filter(rows), truth.filter(rows)
        audit = audit_demonstrations(judged, true)
        print(audit.confusion(), audit.scores(), audit.boundaries())
        assert audit.macro_f1() >= 0.9
        assert audit.boundaries()["median_s"].max() <= 0.5
