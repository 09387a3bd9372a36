"""The content store: equal arrays back, damage is a miss, the size is bounded."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sportskills_lib.runs import content_store
from sportskills_lib.runs.content_store import ContentStore

CLIP = np.arange(8 * 16 * 16 * 3, dtype=np.uint8).reshape(8, 16, 16, 3)


@pytest.fixture
def cache(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "cache", limit_bytes=10**6)


def test_what_went_in_comes_out(cache: ContentStore, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"one")
    key = cache.key(film, "clip", (0.5, 1.0), 16, "v1")
    assert key not in cache
    assert cache.get(key) is None
    cache.put(key, CLIP)
    np.testing.assert_array_equal(cache.get(key), CLIP)
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_the_key_follows_the_content_and_every_fact(cache: ContentStore, tmp_path: Path) -> None:
    one, other = tmp_path / "one.mp4", tmp_path / "other.mp4"
    one.write_bytes(b"film")
    other.write_bytes(b"film")
    key = cache.key(one, "clip", (0.5,), 16, "v1")
    assert key == cache.key(other, "clip", (0.5,), 16, "v1")
    assert key not in [
        cache.key(one, *facts) for facts in (("clip", (0.6,), 16, "v1"), ("clip", (0.5,), 16, "v2"))
    ]
    one.write_bytes(b"another film")
    assert key != cache.key(one, "clip", (0.5,), 16, "v1")


@pytest.mark.parametrize("damage", [b"", b"x", None])
def test_a_damaged_entry_is_a_miss_and_goes(cache: ContentStore, damage: bytes | None) -> None:
    cache.put("ab" * 16, CLIP)
    (entry,) = cache.folder.glob("??/*.npy")
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 1
    entry.write_bytes(bytes(content) if damage is None else damage)
    assert cache.get("ab" * 16) is None
    assert not entry.exists()


def test_the_longest_unused_entries_go(tmp_path: Path) -> None:
    cache = ContentStore(tmp_path / "cache", limit_bytes=5 * (CLIP.nbytes + 200))
    keys = [f"{i:02d}" * 16 for i in range(8)]
    for i, key in enumerate(keys):
        cache.put(key, CLIP)
        if key in cache:
            os.utime(cache._path(key), ns=(i, i))
        assert cache.get(keys[0]) is not None  # used all the time, so it stays
    assert sum(path.stat().st_size for path in cache.folder.glob("??/*")) <= cache.limit_bytes
    assert [key in cache for key in keys] == [True, *[False] * 4, *[True] * 3]


def test_a_cache_that_cannot_be_written_costs_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = ContentStore(tmp_path / "file" / "cache", limit_bytes=10**6)
    cache.put("ab" * 16, CLIP)
    assert cache.get("ab" * 16) is None
    with pytest.raises(ValueError, match="positive limit"):
        ContentStore(tmp_path, limit_bytes=0)


def test_a_killed_writer_leaves_nothing_that_is_read(
    cache: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill before the rename leaves a temporary file: a miss, and the first to be evicted."""
    monkeypatch.setattr(content_store.Path, "replace", lambda *_: None)
    cache.put("ab" * 16, CLIP)
    assert cache.get("ab" * 16) is None and "ab" * 16 not in cache
    assert len(list(cache.folder.rglob("*.tmp"))) == 1
    assert cache.evict(0) == 0 and not list(cache.folder.rglob("*.tmp"))
