"""What a run knows that advice needs: its clips with their sentences, vectors and sources, and the
models of 03 and 04.

Ids, paths, titles and addresses come from strangers. A path that leaves the source folder, or an
address that is not http or https, is not used; nothing here makes a page of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import numpy as np
import polars as pl

from sportskills_lib import tables
from sportskills_lib.apps.advise.learner_clip import NothingFits
from sportskills_lib.config import PairingConfig
from sportskills_lib.curation.sources import read_sidecar
from sportskills_lib.curation.taxonomy import plain, shipped_taxonomy
from sportskills_lib.retrieval import stage
from sportskills_lib.retrieval.ranking.first_stage import Blend, EncoderVectors, encoder_vectors
from sportskills_lib.retrieval.ranking.two_stage import (
    ENCODER,
    YES_NO,
    RankingChoices,
    load_choices,
    read_index,
)
from sportskills_lib.retrieval.relevance import calibration
from sportskills_lib.retrieval.relevance.known_mistakes import CALIBRATION_FILE, KnownMistakes
from sportskills_lib.runs import artifacts
from sportskills_lib.viewing import retrieved_queries

ENCODERS = ("video", "native", "image")  # which one is asked first
ARM = "narrations"
MISTAKE = "mistake"  # whose names have a calibration, too
LONGEST_URL = 2000
WEB = re.compile(r"https?://[\w.-]+(:\d+)?([/?#]\S*)?")  # without a user's name and password
YOUTUBE = (".youtube.com", ".youtu.be")


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
    config: PairingConfig  # of 02
    videos: pl.DataFrame  # tables.Videos
    files: Mapping[str, Path]  # by video_id; none for a path that leaves the source folder
    retrieval: artifacts.StageReader | None  # 04, where it was run on learners
    digests: tuple[str, ...]  # of 02, 03 and 04
    choices: RankingChoices | None = None  # of 04
    # by the system whose scores they make probabilities
    calibrations: Mapping[str, calibration.Calibration | None] = field(default_factory=dict)
    gallery: Mapping[str, np.ndarray] = field(default_factory=dict)  # of 04's dual scorer, by id
    mistakes: KnownMistakes | None = None  # of 04's training, whose words name a learner's mistake

    @property
    def blend(self) -> Blend | None:
        """How 04 adds up pictures and words; None where it has not chosen that for this encoder."""
        if self.choices is None or self.choices.encoder != self.encoder:
            return None
        return self.choices.blend

    @property
    def sports(self) -> list[str]:
        """The sports of the clips, in order of name."""
        return self.clips["sport"].unique().sort().to_list()


def open_library(run: str, *, encoder: str | None = None) -> AdviceLibrary:
    """Read 01 to 03 of a run, and 04 if it holds a relevance model. ValueError with the command
    that makes what lacks.

    ``encoder``: image, video or native; by default that of 04's first stage, else the first of
    :data:`ENCODERS` that 03 trained on narrations.
    """
    curation, pairing, trained = (artifacts.open_stage(run, name) for name in artifacts.STAGES[:3])
    made, videos = stage.open_library(run), curation.table("videos", tables.Videos)
    if made.clips.is_empty():
        raise ValueError(f"run {run!r} has no clip at all: give 01 lessons with captions")
    retrieval = _retrieval(run)
    choices = load_choices(retrieval.folder) if retrieval else None
    known = [name for name in ENCODERS if (made.encoder / "models" / name / ARM).is_dir()]
    name = encoder or (choices.encoder if choices else next(iter(known), ""))
    if name not in known:
        raise ValueError(
            f"03 of run {run!r} has no encoder {name} trained on {ARM} (it has: "
            f"{', '.join(known) or 'none'}): "
            f"run `sportskills reproduce --run {run} --from 03` with {ARM} among 03.arms"
        )
    ids = made.clips["clip_id"]
    vectors = encoder_vectors(made.embeddings, f"{name}:{ARM}", made.pairs, {})
    files, gallery = dict[str, str](), dict[str, np.ndarray]()
    known_mistakes = None
    if choices and retrieval and choices.search != ENCODER:
        gallery, files[choices.search] = read_index(retrieval.folder), calibration.FILE
        files[MISTAKE] = CALIBRATION_FILE
        lent = retrieval.manifest["config"].get("lent_comments", 0)
        known_mistakes = KnownMistakes.read(retrieval.folder / "adapter", lent)
    elif choices:
        files[YES_NO] = calibration.FILE
    if choices and choices.encoder == name:
        files[ENCODER] = calibration.ENCODER_FILE
    calibrations = {system: calibration.load(retrieval.folder, files[system]) for system in files}  # type: ignore[union-attr]
    return AdviceLibrary(
        run=run,
        clips=made.clips.with_columns(text=ids.replace_strict(made.texts, return_dtype=pl.String)),
        frames=made.frames,
        clip_ND=np.stack([vectors.clips[clip_id] for clip_id in ids]).astype(np.float32),
        vectors=vectors,
        tower=made.encoder / "models" / name / ARM,
        encoder=name,
        config=PairingConfig.model_validate(pairing.manifest["config"]),
        videos=videos,
        files=retrieved_queries.below(
            curation.manifest["config"]["source"], videos.select("video_id", "path")
        ),
        retrieval=retrieval,
        digests=tuple(reader.digest for reader in (pairing, trained, retrieval) if reader),
        choices=choices,
        gallery=gallery,
        calibrations=calibrations,
        mistakes=known_mistakes,
    )


def _retrieval(run: str) -> artifacts.StageReader | None:
    """04 of the run (or of its base), if it trained a relevance model."""
    if not artifacts.is_complete(artifacts.holder(run, "04_retrieval"), "04_retrieval"):
        return None
    reader = artifacts.open_stage(run, "04_retrieval")
    return reader if (reader.folder / "adapter/adapter_config.json").is_file() else None


def choose_clips(
    library: AdviceLibrary, sport: str | None, skill: str | None, split: str | None = None
) -> pl.DataFrame:
    """The clips that may be suggested, with ``row``, their row of the library.

    Spellings are those of the taxonomy. ValueError for a sport that neither the run nor the
    taxonomy knows, or a skill that the sport's clips do not have; NothingFits for a known sport
    without a clip.
    """
    rows = library.clips.with_row_index("row")
    if split:
        rows = rows.filter(pl.col("split").cast(pl.String) == split)
    if sport is None:
        if skill:
            raise ValueError(f"--skill {skill!r} needs its --sport")
        return rows
    taxonomy, has = shipped_taxonomy(), ", ".join(library.sports)
    named, skill_named = taxonomy.canonical(sport, skill or "")
    known = {plain(each): each for each in [*library.videos["sport"].drop_nulls(), *library.sports]}
    name = known.get(plain(sport)) or known.get(plain(named), named)
    if plain(name) not in known and taxonomy.sport(sport) is None:
        raise ValueError(f"run {library.run!r} knows no sport {sport!r}; it has {has}")
    rows = rows.filter(pl.col("sport") == name)
    if rows.is_empty():
        raise NothingFits(f"no clip of {name} in run {library.run!r}; it has {has}")
    if skill:
        skills = rows["skill"].unique().sort().to_list()
        meant = [each for each in skills if plain(each) in (plain(skill_named), plain(skill))]
        if not meant:
            raise ValueError(
                f"the clips of {name} have no skill {skill!r}; they have {', '.join(skills)}"
            )
        rows = rows.filter(pl.col("skill").is_in(meant))
    return rows


def source_of(library: AdviceLibrary, video_id: str, start_s: float) -> dict[str, Any]:
    """``title``, ``channel`` and ``link`` of a video as its sidecar names them; the link leads to
    the moment ``start_s``, and is None without a web address.
    """
    row = library.videos.row(by_predicate=pl.col("video_id") == video_id, named=True)
    path = library.files.get(video_id)
    info = read_sidecar(path.with_suffix(".info.json")) if path else {}
    sidecar = info if isinstance(info, dict) else {}
    return {
        "title": row["title"] or "",
        "channel": str(sidecar.get("channel") or row["channel"]),
        "link": moment(sidecar.get("webpage_url"), start_s),
    }


def moment(url: object, start_s: float) -> str | None:
    """The address of that second of a web page's video; None for anything but a plain http or https
    address.
    """
    if not isinstance(url, str) or len(url) > LONGEST_URL or not url.isprintable():
        return None
    if not WEB.fullmatch(url):
        return None
    parts, second = urlsplit(url), int(start_s)
    if not f".{parts.hostname}".endswith(YOUTUBE):
        return urlunsplit(parts._replace(fragment=f"t={second}"))
    query = [(key, value) for key, value in parse_qsl(parts.query) if key not in ("t", "start")]
    return urlunsplit(parts._replace(query=urlencode([*query, ("t", f"{second}s")]), fragment=""))
