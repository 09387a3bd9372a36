"""What a run knows that advice needs: its clips with their sentences, vectors and sources, and the
models of 03 and 04.

Ids, paths, titles and addresses come from strangers. A path that leaves the source folder, or an
address that is not http or https, is not used; nothing here makes a page of them.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from sportskills_lib.retrieval.ranking.first_stage import Blend, EncoderVectors, encoder_vectors
from sportskills_lib.retrieval.ranking.two_stage import RankingChoices, load_choices
from sportskills_lib.retrieval.relevance import calibration
from sportskills_lib.retrieval.relevance.calibration import Calibration
from sportskills_lib.runs import artifacts

ENCODERS = ("video", "native", "image")  # which one is asked first
ARM = "narrations"
LONGEST_URL = 2000
YOUTUBE = ("youtube.com", "youtu.be")


class NothingFits(Exception):
    """The library has nothing for this learner; the message says why."""


@dataclass(frozen=True)
class AdviceLibrary:
    """A run whose first three stages are complete. ``clips``, ``frames`` and ``clip_ND`` are row by
    row.
    """

    run: str
    clips: pl.DataFrame  # tables.Clips with the text said over each
    frames: np.ndarray  # uint8 [N, T, H, W, 3], a map of the file
    clip_ND: np.ndarray  # vectors of the pictures
    vectors: EncoderVectors  # the same by id, and of what is said over them
    tower: Path
    encoder: str
    shape_config: dict[str, Any]  # of 02
    videos: pl.DataFrame  # tables.Videos
    source: Path
    retrieval: artifacts.StageReader | None  # 04, where it was run on learners
    digests: tuple[str, ...]  # of 02, 03 and 04
    choices: RankingChoices | None = None  # of 04
    relevance_calibration: Calibration | None = None
    encoder_calibration: Calibration | None = None

    @property
    def blend(self) -> Blend | None:
        """How 04 adds up pictures and words; None where it has not chosen that for this encoder."""
        fits = self.choices is not None and self.choices.encoder == self.encoder
        return self.choices.blend if fits and self.choices else None

    def sports(self) -> dict[str, int]:
        """Clips of each sport."""
        return dict(self.clips.group_by("sport").len().sort("sport").iter_rows())


def open_library(run: str, *, encoder: str | None = None) -> AdviceLibrary:
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
    retrieval = _retrieval(run)
    choices = load_choices(retrieval.folder) if retrieval else None
    name = _encoder(run, made.encoder, encoder, choices)
    texts = pl.Series(
        [made.texts.get(clip_id, "") for clip_id in made.clips["clip_id"]], dtype=pl.String
    )
    vectors = EncoderVectors({}, {}, {})
    if made.clips.height:
        vectors = encoder_vectors(made.embeddings, f"{name}:{ARM}", made.pairs, {})
    fits = retrieval is not None and choices is not None and choices.encoder == name
    readers = [stages["02_pairing"], stages["03_encoder"], *([retrieval] if retrieval else [])]
    return AdviceLibrary(
        run=run,
        clips=made.clips.with_columns(text=texts),
        frames=made.frames,
        clip_ND=_matrix(made.clips["clip_id"], vectors.clips),
        vectors=vectors,
        tower=made.encoder / "models" / name / ARM,
        encoder=name,
        shape_config=stages["02_pairing"].manifest["config"],
        videos=stages["01_curation"].table("videos", tables.Videos),
        source=artifacts.workspace() / stages["02_pairing"].manifest["config"]["source"],
        retrieval=retrieval,
        digests=tuple(reader.digest for reader in readers),
        choices=choices,
        relevance_calibration=calibration.load(retrieval.folder) if retrieval else None,
        encoder_calibration=calibration.load(retrieval.folder, calibration.ENCODER_FILE)
        if retrieval and fits
        else None,
    )


def _retrieval(run: str) -> artifacts.StageReader | None:
    """04 of the run (or of its base), if it trained a relevance model."""
    if not artifacts.is_complete(artifacts.holder(run, "04_retrieval"), "04_retrieval"):
        return None
    reader = artifacts.open_stage(run, "04_retrieval")
    return reader if (reader.folder / "adapter/adapter_config.json").is_file() else None


def _encoder(run: str, folder: Path, requested: str | None, choices: RankingChoices | None) -> str:
    """The encoder requested, that of 04's first stage, or the first that is there."""
    known = [name for name in ENCODERS if (folder / "models" / name / ARM).is_dir()]
    if not known or (requested and requested not in known):
        raise ValueError(
            f"03 of run {run!r} has no encoder {requested or ''} trained on {ARM} (it has: "
            f"{', '.join(known) or 'none'}): "
            f"run `sportskills reproduce --run {run} --from 03` with {ARM} among 03.arms"
        )
    if requested:
        return requested
    return choices.encoder if choices and choices.encoder in known else known[0]


def _matrix(ids: pl.Series, vectors: Mapping[str, np.ndarray]) -> np.ndarray:
    """float32 [N, D] in the order of ``ids``; 0 where there is no vector."""
    width = len(next(iter(vectors.values()))) if vectors else 1
    return np.array([vectors.get(name, np.zeros(width)) for name in ids], np.float32).reshape(
        len(ids), width
    )


def choose_clips(
    library: AdviceLibrary, sport: str | None, skill: str | None, split: str | None = None
) -> pl.DataFrame:
    """``row`` of the library and sport of the clips that may be suggested.

    Spellings are those of the taxonomy. ValueError for a sport that neither the run nor the
    taxonomy knows, or a skill that the sport's clips do not have; NothingFits for a known sport
    without a clip.
    """
    rows = library.clips.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    if split:
        rows = rows.filter(pl.col("split").cast(pl.String) == split)
    if skill and not sport:
        raise ValueError(f"--skill {skill!r} needs its --sport")
    if sport:
        known = library.sports()
        name = _known_sport(sport, {*known, *library.videos["sport"].drop_nulls()})
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
            names = [each for each in skills if plain(each) in (plain(own), plain(skill))]
            if not names:
                raise ValueError(
                    f"the clips of {name} have no skill {skill!r}; they have {', '.join(skills)}"
                )
            rows = rows.filter(pl.col("skill") == names[0])
    if not rows.height:
        raise NothingFits(f"run {library.run!r} has no clip at all: give 01 lessons with captions")
    return rows


def _known_sport(sport: str, known: set[str]) -> str | None:
    """The run's (else the taxonomy's) name of a sport, however it is spelt."""
    by_spelling = {plain(name): name for name in sorted(known)}
    known_sport = shipped_taxonomy().sport(sport)
    return by_spelling.get(plain(sport)) or (
        by_spelling.get(plain(known_sport.name), known_sport.name) if known_sport else None
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


def source_of(library: AdviceLibrary, video_id: str, start_s: float) -> Source:
    """The source of a clip, its link leading to the moment ``start_s``."""
    row = library.videos.row(by_predicate=pl.col("video_id") == video_id, named=True)
    try:
        path = source_file(library.source, row["path"])
    except ValueError:
        return Source(None, row["title"] or "", row["channel"], None)
    info = read_sidecar(path.with_suffix(".info.json"))
    sidecar = info if isinstance(info, dict) else {}
    channel = sidecar.get("channel")
    return Source(
        path,
        row["title"] or "",
        channel if isinstance(channel, str) and channel else row["channel"],
        moment(sidecar.get("webpage_url"), start_s),
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
