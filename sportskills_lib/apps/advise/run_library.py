"""What a run knows that advice needs: its clips with their sentences, vectors and sources, and the
models of 03 and 04.

Ids, paths, titles and addresses come from strangers. A path that leaves the source folder, or an
address that is not http or https, is not used; nothing here makes a page of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import numpy as np
import polars as pl

from sportskills_lib import tables
from sportskills_lib.apps.export.items import source_file
from sportskills_lib.curation.sources import read_sidecar
from sportskills_lib.curation.taxonomy import plain, shipped_taxonomy
from sportskills_lib.retrieval import stage
from sportskills_lib.retrieval.ranking import nearest
from sportskills_lib.retrieval.relevance import calibration
from sportskills_lib.runs import artifacts

ENCODERS = ("video", "native", "image")  # which one is asked first
ARM = "narrations"
LONGEST_URL = 2000
YOUTUBE = ("youtube.com", "youtu.be")


class NothingFits(Exception):
    """The library has nothing for this learner; the message says why."""


@dataclass(frozen=True)
class Library:
    """A run whose first three stages are complete. ``clips``, ``clip_ND`` and ``said_ND`` are row
    by row.
    """

    run: str
    clips: pl.DataFrame  # tables.Clips with the text said over each
    frames: np.ndarray  # uint8 [N, T, H, W, 3], a map of the file
    clip_ND: np.ndarray  # vectors of the pictures
    said_ND: np.ndarray  # of what is said over them; 0 where nothing is
    tower: Path
    encoder: str
    shape_config: dict[str, Any]  # of 02
    videos: pl.DataFrame  # tables.Videos
    source: Path
    retrieval: artifacts.StageReader | None  # 04, where it was run on learners
    digests: tuple[str, ...]  # of 02, 03 and 04

    def sports(self) -> dict[str, int]:
        """Clips of each sport."""
        return dict(self.clips.group_by("sport").len().sort("sport").iter_rows())


def open_library(run: str, *, encoder: str | None = None) -> Library:
    """Read 01 to 03 of a run, and 04 if it holds a relevance model. ValueError with the command
    that makes what lacks.

    ``encoder``: image, video or native; by default the first of :data:`ENCODERS` that 03 trained on
    narrations.
    """
    if not artifacts.run_folder(run).is_dir():
        folder = artifacts.run_folder(run).parent
        known = (
            sorted(path.name for path in folder.iterdir() if path.is_dir())
            if folder.is_dir()
            else []
        )
        raise ValueError(
            f"there is no run {run!r} (there are: {', '.join(known) or 'none'}): make it with "
            "`sportskills reproduce "
            f"--preset local --source <your lessons> --run {run}`"
        )
    stages = {name: artifacts.open_stage(run, name) for name in artifacts.STAGES[:3]}
    made = stage.open_library(run)
    later = _retrieval(run)
    chosen = _encoder(run, made.encoder, encoder, later)
    model = f"{chosen}:{ARM}"
    texts = pl.DataFrame(
        {"clip_id": list(made.texts), "text": list(made.texts.values())}, schema_overrides=_TEXTS
    )
    clips = made.clips.join(texts, on="clip_id", how="left", maintain_order="left")
    ids = clips["clip_id"].to_list()
    said = (
        nearest.narration_vectors(made.pairs, nearest.vectors(made.embeddings, model, "narration"))
        if ids
        else {}
    )
    readers = [stages["02_pairing"], stages["03_encoder"], *([later] if later else [])]
    return Library(
        run=run,
        clips=clips.with_columns(pl.col("text").fill_null("")),
        frames=made.frames,
        clip_ND=_matrix(ids, nearest.vectors(made.embeddings, model, "clip") if ids else {}),
        said_ND=_matrix(ids, said),
        tower=made.encoder / "models" / chosen / ARM,
        encoder=chosen,
        shape_config=stages["02_pairing"].manifest["config"],
        videos=stages["01_curation"].table("videos", tables.Videos),
        source=artifacts.workspace() / stages["02_pairing"].manifest["config"]["source"],
        retrieval=later,
        digests=tuple(reader.digest for reader in readers),
    )


_TEXTS: dict[str, Any] = {"clip_id": pl.String, "text": pl.String}


def _retrieval(run: str) -> artifacts.StageReader | None:
    """04 of the run (or of its base), if it trained a relevance model."""
    if not artifacts.is_complete(artifacts.holder(run, "04_retrieval"), "04_retrieval"):
        return None
    reader = artifacts.open_stage(run, "04_retrieval")
    calibration.load(
        reader.folder
    )  # one of another version is refused here, before a model is loaded
    return reader if (reader.folder / "adapter/adapter_config.json").is_file() else None


def _encoder(
    run: str, folder: Path, wanted: str | None, later: artifacts.StageReader | None
) -> str:
    """The encoder asked for, that of 04's first stage, or the first that is there."""
    known = [name for name in ENCODERS if (folder / "models" / name / ARM).is_dir()]
    if not known or (wanted and wanted not in known):
        raise ValueError(
            f"03 of run {run!r} has no encoder {wanted or ''} trained on {ARM} (it has: "
            f"{', '.join(known) or 'none'}): "
            f"run `sportskills reproduce --run {run} --from 03` with {ARM} among 03.arms"
        )
    first = later.manifest["config"].get("first_stage") if later else None
    return wanted or (first if first in known else known[0])


def _matrix(ids: Sequence[str], vectors: dict[str, np.ndarray]) -> np.ndarray:
    """float32 [N, D] in the order of ``ids``; 0 where there is no vector."""
    width = len(next(iter(vectors.values()))) if vectors else 1
    return np.array([vectors.get(name, np.zeros(width)) for name in ids], np.float32).reshape(
        len(ids), width
    )


def choose_clips(library: Library, sport: str | None, skill: str | None) -> pl.DataFrame:
    """``row`` of the library and sport of the clips that may be suggested.

    Spellings are those of the taxonomy. ValueError for a sport that neither the run nor the
    taxonomy knows, or a skill that the sport's clips do not have; NothingFits for a known sport
    without a clip.
    """
    rows = library.clips.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    if skill and not sport:
        raise ValueError(f"--skill {skill!r} needs its --sport")
    if sport:
        known = library.sports()
        name = _named(sport, {*known, *library.videos["sport"].drop_nulls()})
        if name is None:
            raise ValueError(
                f"run {library.run!r} knows no sport {sport!r}; it has "
                f"{', '.join(known) or 'no clip'}"
            )
        rows = rows.filter(pl.col("sport") == name)
        if not rows.height:
            raise NothingFits(
                f"no clip of {name} in run {library.run!r}; it has {', '.join(known) or 'no clip'}"
            )
        if skill:
            skills = sorted(set(rows["skill"]))
            _, own = shipped_taxonomy().canonical(name, skill)
            found = next(
                (each for each in skills if plain(each) in (plain(own), plain(skill))), None
            )
            if found is None:
                raise ValueError(
                    f"the clips of {name} have no skill {skill!r}; they have {', '.join(skills)}"
                )
            rows = rows.filter(pl.col("skill") == found)
    if not rows.height:
        raise NothingFits(f"run {library.run!r} has no clip at all: give 01 lessons with captions")
    return rows


def _named(sport: str, known: set[str]) -> str | None:
    """The run's (else the taxonomy's) name of a sport, however it is spelt."""
    by_spelling = {plain(name): name for name in sorted(known)}
    meant = shipped_taxonomy().sport(sport)
    return by_spelling.get(plain(sport)) or (
        by_spelling.get(plain(meant.name), meant.name) if meant else None
    )


@dataclass(frozen=True)
class Source:
    """Where a clip is from: its file (None if that leaves the source folder), and what its sidecar
    says.
    """

    path: Path | None
    title: str
    channel: str
    link: str | None


def source_of(library: Library, video_id: str, start_s: float) -> Source:
    """The source of a clip, its link leading to the moment ``start_s``."""
    row = library.videos.row(by_predicate=pl.col("video_id") == video_id, named=True)
    try:
        path = source_file(library.source, row["path"])
    except ValueError:
        return Source(None, row["title"] or "", row["channel"], None)
    info = read_sidecar(path.with_suffix(".info.json"))
    told = info if isinstance(info, dict) else {}
    channel = told.get("channel")
    return Source(
        path,
        row["title"] or "",
        channel if isinstance(channel, str) and channel else row["channel"],
        moment(told.get("webpage_url"), start_s),
    )


def moment(url: object, start_s: float) -> str | None:
    """The address of that second of a web page's video; None for anything but a plain http or https
    address.
    """
    if not isinstance(url, str) or len(url) > LONGEST_URL or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        return None
    second = int(start_s)
    if any(host == name or host.endswith(f".{name}") for name in YOUTUBE):
        query = [(key, value) for key, value in parse_qsl(parts.query) if key not in ("t", "start")]
        return urlunsplit(
            parts._replace(query=urlencode([*query, ("t", f"{second}s")]), fragment="")
        )
    return urlunsplit(parts._replace(fragment=f"t={second}"))
