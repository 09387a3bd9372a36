"""Random damage to valid files of the five formats: nothing comes of it but dropped rows, or a
ValueError with a name.

Half of the cases damage values (a node of the JSON, a cell of the table), half bytes. What comes
back must stand in tables that can be written, hold no leak and name no file outside the folder.
"""

from __future__ import annotations

import copy
import functools
import json
import random
from pathlib import Path

import polars as pl
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

from sportskills_lib.learner_data import fitness, frames, read_learners

CASES = 100  # of each format


@pytest.fixture(autouse=True)
def looked_at_once(monkeypatch):
    """The videos are the same in all cases: each is looked at once."""
    monkeypatch.setattr(frames, "look_at", functools.cache(frames.look_at))


NASTY = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    3.0,
    10**40,
    -(10**400),
    1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    " ",
    "nan",
    "-inf",
    "1e999",
    "3.0",
    "１",
    "true",
    "x" * 5000,
    "../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "\ud800",
    "\udfff half",
    "\u202e\u2028\u0085",
    "take:with:colons",
    ".hidden",
    "C:\\x",
    [],
    {},
    [[]],
    [None],
    {"a": {}},
    ["x", 3],
    "[" * 200,
    "'",
    "['a",
    "train",
    "test",
    "uid-a",
    "tennis",
    "{}",
    "\r\n",
    '"',
]


def nodes(value, path=()):
    """Every place in a JSON value, as the keys that lead there."""
    yield path
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, below in pairs:
        yield from nodes(below, (*path, key))


def damage(value, draw):
    """The value with one to three of its nodes replaced, taken out, doubled or put under another
    key.
    """
    whole = {"root": copy.deepcopy(value)}
    for _ in range(draw.randint(1, 3)):
        places = [path for path in nodes(whole) if path]
        *way, key = draw.choice(places)
        above = whole
        for step in way:
            above = above[step]
        what = draw.random()
        if what < 0.6:
            above[key] = copy.deepcopy(draw.choice(NASTY))
        elif what < 0.75 and way:
            del above[key]
        elif isinstance(above, list):
            above.insert(draw.randrange(len(above) + 1), copy.deepcopy(above[key]))
        elif way:
            above[draw.choice(["uid-b", "", "take_uid", "../x", "\ud800", "x" * 300])] = (
                copy.deepcopy(above[key])
            )
    return whole.get("root")


def damage_bytes(content, draw):
    """The bytes cut off, or with some overwritten, put in, taken out or doubled."""
    found = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(found) + 1)
        size = draw.choice([1, 1, 2, 8, 60])
        what = draw.random()
        if what < 0.1:
            del found[at:]
        elif what < 0.4:
            found[at : at + size] = draw.randbytes(size)
        elif what < 0.6:
            del found[at : at + size]
        elif what < 0.8:
            found[at:at] = found[at : at + size]
        else:
            found[at:at] = draw.choice(
                [b'"', b",", b"\n", b"{", b"]", b"\0", b"\xff", b"\\ud800", b"NaN", b"9" * 50]
            )
    return bytes(found)


def check(source: Path, folder: Path, **options) -> str:
    """Read the source; "refused" where a ValueError says so, else what the tables hold must be
    sound.
    """
    try:
        learners, dropped = read_learners(source, span_s=3.0, **options)
    except ValueError as error:
        assert str(folder) in str(error) or "splits.json" in str(error), error
        assert ": " in str(error) and "\n" not in str(error) and len(str(error)) < 700
        return "refused"
    learners.write_parquet(folder / "out.parquet")
    dropped.write_parquet(folder / "out.parquet")
    for group in ("participant", "take_id", "path"):
        stands = set(learners.select(group, "split").rows())
        assert len(stands) == len({name for name, _ in stands})
    for path in learners["path"]:
        assert (folder / path).resolve().is_relative_to(folder.resolve()) and (
            folder / path
        ).exists()
    assert learners.select(
        pl.col("comment").str.contains("[^\\s]").all(), (pl.col("end_s") < 1e7).all()
    ).row(0) == (
        True,
        True,
    )
    assert dropped.height == 0 or dropped["detail"].str.len_chars().max() < 1000
    assert learners["take_id"].str.len_chars().max() in range(1, 129) or not learners.height
    return "read"


def egoexo_documents():
    takes = [
        take("a", 1),
        take("b", 2, task="Judo - osoto"),
        take("c", 3, capture={"cameras": [{"cam_id": "cam02"}]}),
    ]
    said = {
        name: [
            {
                "take_uid": f"uid-{name}",
                "commentary_data": [remark(1.0, "elbow"), remark(4.0, "knee")],
            }
        ]
        for name in "abc"
    }
    moments = [proficiency("a", [item(4.2, "fine")], [item(1.1, "higher"), item(2.9, "slower")])]
    return {
        "takes.json": takes,
        "annotations/expert_commentary_train.json": {
            "annotations": {"uid-a": said["a"]},
            "ds": "x",
        },
        "annotations/expert_commentary_val.json": {
            "annotations": {"uid-b": said["b"], "uid-c": said["c"]}
        },
        "annotations/proficiency_demonstration_train.json": {"annotations": moments},
        "annotations/splits.json": {
            "take_uid_to_split": {"uid-a": "train", "uid-b": "val", "uid-c": "val"}
        },
    }


def test_damaged_egoexo_files(tmp_path, six_seconds):
    copy_video(
        six_seconds, *(tmp_path / f"takes/{name}/frame_aligned_videos/cam01.mp4" for name in "abc")
    )
    write_egoexo(tmp_path, [], {})
    documents = egoexo_documents()
    found = []
    for case in range(CASES):
        draw = random.Random(case)
        for name, document in documents.items():
            (tmp_path / name).write_text(json.dumps(document))
        name = draw.choice(list(documents))
        if case % 2:
            (tmp_path / name).write_bytes(damage_bytes((tmp_path / name).read_bytes(), draw))
        else:
            (tmp_path / name).write_text(json.dumps(damage(documents[name], draw)))
        found.append(check(tmp_path, tmp_path, sports=["tennis", "judo"] if case % 3 else None))
    assert 20 < found.count("read") < CASES, "both outcomes must have been tried"


def test_damaged_exact_files(tmp_path, six_seconds):
    rows = [question(number, good=number % 2 == 0) for number in range(4)]
    write_exact(tmp_path, rows, six_seconds)
    found = []
    for case in range(CASES):
        draw = random.Random(1000 + case)
        source = write_exact(tmp_path, rows)
        if case % 2:
            source.write_bytes(damage_bytes(source.read_bytes(), draw))
        else:
            damaged = damage(rows, draw)
            lines = damaged if isinstance(damaged, list) else [damaged]
            source.write_text("".join(json.dumps(row) + "\n" for row in lines))
        found.append(check(source, tmp_path))
    assert found.count("read") > 80


def test_damaged_fitness_files(tmp_path):
    points = {"Keep your back straight.": False, "Cross your feet.": True}
    entries = {f"rec{i}_action_1": judged(record=f"rec{i}", a=points, b=points) for i in range(3)}
    actors = {f"rec{i}": f"0925-P{i}" for i in range(3)}
    write_fitness(tmp_path, entries, actors)
    found = []
    files = ("interpretable_action_judgement.json", "meta_records.json")
    documents = {
        name: json.loads((tmp_path / "raw_annotations" / name).read_text()) for name in files
    }
    for case in range(CASES):
        draw = random.Random(3000 + case)
        chosen = draw.choice(files)
        for name, document in documents.items():
            content = json.dumps(document).encode()
            if name == chosen and case % 2:
                content = damage_bytes(content, draw)
            elif name == chosen:
                content = json.dumps(damage(document, draw)).encode()
            (tmp_path / "raw_annotations" / name).write_bytes(content)
        found.append(check(tmp_path, tmp_path))
        if found[-1] == "read":
            learners, _ = read_learners(tmp_path, span_s=3.0)
            fitness.ratings(tmp_path, learners)
    assert 40 < found.count("read") < CASES, "both outcomes must have been tried"


def test_damaged_qevd_files(tmp_path, six_seconds):
    copy_video(six_seconds, *(tmp_path / f"short_clips/{name}.mp4" for name in "abc"))
    copy_video(six_seconds, tmp_path / "long_range_videos/0.mp4")
    frames = [""] * 30 + ["Push your knees out."] * 9 + [""] * 20 + ["Bend your knees."] * 3
    workout = {
        "long_range_video_file": "./long_range_videos/0.mp4",
        "feedbacks": frames,
        "is_transition": [False, False],
    }
    write_qevd(
        tmp_path,
        [labelled(name, "squats - too high") for name in "abc"],
        feedback={"a": ["Go lower!"], "b": "Lower."},
        workers={"a": 1, "b": 2},
        workouts=[workout],
    )
    documents = {path.name: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    found = []
    for case in range(CASES):
        draw = random.Random(4000 + case)
        chosen = draw.choice(sorted(documents))
        for name, document in documents.items():
            content = json.dumps(document).encode()
            if name == chosen and case % 2:
                content = damage_bytes(content, draw)
            elif name == chosen:
                content = json.dumps(damage(document, draw)).encode()
            (tmp_path / name).write_bytes(content)
        found.append(check(tmp_path, tmp_path))
    assert 30 < found.count("read") < CASES, "both outcomes must have been tried"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_damaged_tables(tmp_path, six_seconds, suffix):
    copy_video(six_seconds, tmp_path / "a.mp4", tmp_path / "b.mp4")
    rows = [
        tried("a.mp4", 0.5, 3.0),
        tried("b.mp4", 1.0, 4.0, participant="bo"),
        tried("a.mp4", 2.0, 5.0, comment='"so", he said'),
    ]
    source = tmp_path / f"tries.{suffix}"
    found = []
    for case in range(CASES // 2):
        draw = random.Random(2000 + case)
        if suffix == "csv" and case % 2:
            damaged = damage(rows, draw)
            write_csv(
                source,
                [row for row in damaged if isinstance(row, dict)]
                if isinstance(damaged, list)
                else [],
            )
        elif suffix == "csv":
            source.write_bytes(damage_bytes(write_csv(source, rows).read_bytes(), draw))
        else:
            pl.DataFrame(rows).write_parquet(source)
            source.write_bytes(damage_bytes(source.read_bytes(), draw))
        found.append(check(source, tmp_path))
    assert found.count("read") > (40 if suffix == "csv" else 0) and len(found) == CASES // 2
