"""Values out of strangers' files: what is taken, what is refused, and that nothing raises."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from sportskills_lib.formats import untrusted_json

ANYTHING = [
    None,
    True,
    0,
    -1,
    10**4000,
    -0.0,
    float("nan"),
    float("inf"),
    "",
    "a",
    "\ud800",
    "\0",
    "x" * 10_000,
    [],
    {},
    [[]],
    b"\xff",
    object(),
    Decimal("1"),
    {"a": [1]},
]


@pytest.mark.parametrize("value", ANYTHING, ids=range(len(ANYTHING)))
def test_nothing_raises_and_all_texts_can_be_written(value, tmp_path):
    for function in (
        untrusted_json.text,
        untrusted_json.name,
        untrusted_json.identity,
        untrusted_json.preview,
    ):
        found = function(value)
        assert found is None or found.encode()
    assert len(untrusted_json.preview(value)) <= 100
    assert untrusted_json.seconds(value) is None or isinstance(untrusted_json.seconds(value), float)
    assert untrusted_json.flag(value) in (True, False, None)
    assert untrusted_json.find_inside(tmp_path, value) == (None, "missing")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3.0), (" 3.5 ", 3.5), ("1e2", 100.0), (".5", 0.5), (Decimal("2.5"), 2.5), ("-1", -1.0), (1e9, None),
     ("0x1", None), ("1_000", None), ("1e400", None), ("3,5", None), ("٣", None), (Decimal("NaN"), None),
     (False, None)],
)  # fmt: skip
def test_seconds_are_plain_finite_numbers(value, expected):
    assert untrusted_json.seconds(value) == expected


def test_ids_and_names():
    assert (
        untrusted_json.identity("a-b.c:d_1") == "a-b.c:d_1" and untrusted_json.identity(17) == "17"
    )
    for bad in ("", ".a", "a/b", "a b", "a\n", "é", "x" * 129, 10**18, True, 1.0):
        assert untrusted_json.identity(bad) is None
    assert (
        untrusted_json.name(" Ann\tLee ") == "Ann Lee"
        and untrusted_json.name(5) == "5"
        and untrusted_json.name(5.0) is None
    )
    assert untrusted_json.text("half \ud83d, bell\x07, null\0.") == "half ?, bell , null ."


def test_flags():
    assert [untrusted_json.flag(value) for value in (True, 1, "Yes", "TRUE ", 1.0)] == [True] * 5
    assert [untrusted_json.flag(value) for value in (False, 0, "no", "0.0")] == [False] * 4
    assert [untrusted_json.flag(value) for value in (2, "maybe", None, "", [1])] == [None] * 5


def test_what_json_may_hold(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(
        b"\xef\xbb\xbf" + b'{"n": ' + b"9" * 6000 + b', "a": 1, "a": 2, "t": "\\ud800"}'
    )
    found = untrusted_json.load_json(path)
    assert found["n"] == float("inf") and found["a"] == 1 and found.others == (("a", 2),)
    with pytest.raises(ValueError, match=r"none\.json is not readable JSON .*: fetch it again"):
        untrusted_json.load_json(tmp_path / "none.json")
    with pytest.raises(ValueError, match="not readable JSON"):
        untrusted_json.load_json(tmp_path)


def test_lines_are_counted_and_read_one_by_one(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"a": 1}\r\n\n{\n'
        + json.dumps("\u2028\u0085", ensure_ascii=False).encode()
        + b"\n\xff\n3"
    )
    found = [(number, value, bool(why)) for number, value, why in untrusted_json.json_lines(path)]
    assert found == [
        (1, {"a": 1}, False),
        (3, None, True),
        (4, "\u2028\u0085", False),
        (5, None, True),
        (6, 3, False),
    ]
    with pytest.raises(ValueError, match="cannot be read"):
        list(untrusted_json.json_lines(tmp_path / "none"))


def test_files_are_found_inside_their_folder_only(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out.mp4"
    (inside / "below").mkdir(parents=True)
    outside.touch()
    (inside / "below/a b.mp4").touch()
    (inside / "loop").symlink_to("loop")
    (inside / "out.mp4").symlink_to(outside)
    (inside / "in.mp4").symlink_to(inside / "below/a b.mp4")
    assert untrusted_json.find_inside(inside, "below/../below/a b.mp4") == ("below/a b.mp4", "")
    assert untrusted_json.find_inside(inside, "in.mp4") == ("below/a b.mp4", "")
    for path in ("../out.mp4", "out.mp4", str(outside), "/"):
        assert untrusted_json.find_inside(inside, path) == (None, "outside")
    for path in ("loop", "loop/x", "none", "below", "a\0", "\udcff", "y" * 9000, ""):
        assert untrusted_json.find_inside(inside, path) == (None, "missing")
