"""From a learner's file to a page and a list: read, find the action, embed, rank, cut previews."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib.apps.advise import fit_check, ranking
from sportskills_lib.apps.advise.learner_clip import (
    ClipShape,
    LearnerClip,
    NoMotion,
    check_file,
    check_span,
    read_learner,
)
from sportskills_lib.apps.advise.ranking import RankedClips
from sportskills_lib.apps.advise.run_library import (
    AdviceLibrary,
    NothingFits,
    choose_clips,
    open_library,
    source_of,
)
from sportskills_lib.plots.style import plain
from sportskills_lib.retrieval.relevance.served import Server
from sportskills_lib.runs import artifacts
from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.viewing import previews
from sportskills_lib.viewing.advice_page import AdviceView, Suggestion
from sportskills_lib.viewing.markup import clock

CACHE_BYTES = 500 * 10**6
SHORTLIST = 20
YOU = ""  # the learner's name among the previews: no clip id is empty


@dataclass(frozen=True)
class AdviceRequest:
    """What a learner wants advice on: the file, its sport and skill, where the action is, how many
    clips.
    """

    path: Path
    run: str
    sport: str | None = None
    skill: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    top: int = 5
    shortlist: int | None = None  # None: as many as 04 looked at, or SHORTLIST
    encoder: str | None = None
    served: tuple[str, str] | None = None  # address and name of 04's model; None: loaded here
    workers: int = 2  # processes that read videos; 0: none, for tests
    split: str | None = None  # only clips of one split, as 04 ranks for its learners; None: all


def advise(request: AdviceRequest, log: Callable[[str], None]) -> AdviceView:
    """The clips of the run's library that may help; none, and why, where nothing fits. ``log`` gets
    a line for each step.

    What is wrong with the file, the span, the sport or the run is a ValueError that names the
    remedy, raised before a model is loaded.
    """
    check_file(request.path)
    library = open_library(request.run, encoder=request.encoder)
    shape = ClipShape.of(library.shape_config)
    check_span(request.start_s, request.end_s, shape)
    cache = ContentStore(artifacts.workspace() / "data/cache/advice", limit_bytes=CACHE_BYTES)
    learner: LearnerClip | None = None
    try:
        clips = choose_clips(library, request.sport, request.skill, request.split)
        learner = _read(request, clips, shape, cache, log)
        ranked, notes = _rank(request, library, clips, learner, cache, log)
        why = ""
    except (NothingFits, NoMotion) as nothing:
        why, notes, ranked = str(nothing), [], None
    log(f"cutting {min(request.top, len(ranked.rows)) + 1 if ranked else 1} previews")
    return _view(request, library, learner, ranked, why, notes)


def _read(
    request: AdviceRequest,
    clips: pl.DataFrame,
    shape: ClipShape,
    cache: ContentStore,
    log: Callable[[str], None],
) -> LearnerClip:
    log(f"reading {plain(request.path.name)}")
    usual_s = float((clips["end_s"] - clips["start_s"]).median())  # type: ignore[arg-type]
    learner = read_learner(
        request.path,
        shape,
        start_s=request.start_s,
        end_s=request.end_s,
        usual_s=usual_s,
        cache=cache,
        workers=min(request.workers, 1),
    )
    how = f"where most of its {clock(learner.duration_s)} moves"
    how = how if request.start_s is None else "as requested"
    log(f"the action: {clock(learner.start_s)} to {clock(learner.end_s)}, {how}")
    return learner


def _rank(
    request: AdviceRequest,
    library: AdviceLibrary,
    clips: pl.DataFrame,
    learner: LearnerClip,
    cache: ContentStore,
    log: Callable[[str], None],
) -> tuple[RankedClips, list[str]]:
    """The whole ranking, and notes on how it came about. NothingFits below the threshold."""
    vector = ranking.embed(library, learner, cache, log)
    name = clips["sport"][0] if request.sport else None
    note = _check_fit(library, vector, name, cache, log)
    log(f"ranking {clips.height} clips of {name or 'all sports'}")
    config = library.retrieval.manifest["config"] if library.retrieval else {}
    ranked = ranking.rank(
        library,
        learner,
        vector,
        clips["row"].to_numpy(),
        depth=max(request.top, request.shortlist or config.get("shortlist", SHORTLIST)),
        cache=cache,
        log=log,
        server=Server(*request.served) if request.served else None,
    )
    count = (
        f"{clips.height} clips of {name or 'all sports'} in run {library.run}, ranked by "
        f"{ranked.how}."
    )
    return ranked, [count, note, _probability_note(library, ranked)]


def _check_fit(
    library: AdviceLibrary,
    vector: np.ndarray,
    sport: str | None,
    cache: ContentStore,
    log: Callable[[str], None],
) -> str:
    """The check's result in words. NothingFits where the clip looks more like other sports than is
    usual.
    """
    if sport is None:
        return "No sport was named, so whether anything fits at all was not checked."
    check = fit_check.measure_fit(library, cache, log)
    if check.threshold is None:
        return f"Whether anything fits at all could not be checked: {check.reason}."
    margin = fit_check.margin(library, vector, sport)
    if margin < check.threshold:
        raise NothingFits(
            f"Your clip looks like clips of other sports rather than like {sport}: it is "
            f"{margin:+.3f} nearer to {sport}, and below {check.threshold:+.3f} nothing is shown. "
            f"{check.worth} If it does show {sport}, say with --start and --end where, or leave "
            "--sport out to search all sports."
        )
    return (
        f"Your clip is {margin:+.3f} nearer to {sport} than to any other sport; below "
        f"{check.threshold:+.3f} nothing would be shown. {check.worth}"
    )


def _probability_note(library: AdviceLibrary, ranked: RankedClips) -> str:
    if ranked.probability is not None:
        return (
            "How likely a clip is to help is the score of the ranking, or of the relevance model "
            "where that has a part in it, calibrated on 04's validation learners, whose labels "
            "are weak: compare within this page."
        )
    if library.retrieval is None:
        return (
            "No probability: this run has no relevance model (04 needs learners), so the encoder "
            "alone decided."
        )
    return (
        "No probability: what ranked these clips is not calibrated; 04 has too few validation "
        "learners, or ranks with another encoder."
    )


def _view(
    request: AdviceRequest,
    library: AdviceLibrary,
    learner: LearnerClip | None,
    ranked: RankedClips | None,
    why: str,
    notes: list[str],
) -> AdviceView:
    """The page's content, with a film of each clip."""
    rows = ranked.rows[: request.top].tolist() if ranked else []
    clips = [library.clips.row(row, named=True) for row in rows]
    sources = [source_of(library, clip["video_id"], clip["start_s"]) for clip in clips]
    start_s = learner.start_s if learner else request.start_s or 0.0
    end_s = request.end_s or start_s + previews.MOST_S
    if learner:
        end_s = min(learner.end_s, learner.duration_s)
    spans = [previews.Span(YOU, request.path, start_s, end_s)] + [
        previews.Span(clip["clip_id"], source.path, clip["start_s"], clip["end_s"])
        for clip, source in zip(clips, sources, strict=True)
        if source.path is not None
    ]
    films = previews.make_previews(spans, cache=previews.preview_cache(), workers=request.workers)
    no_film = previews.Preview(reason="its source is not in the library's folder")
    probability = ranked.probability if ranked else None
    suggestions = [
        Suggestion(
            rank=place + 1,
            narration=clip["text"],
            demonstration=str(clip["demonstration"]),
            skill=clip["skill"],
            title=source.title,
            channel=source.channel,
            video_id=clip["video_id"],
            start_s=clip["start_s"],
            end_s=clip["end_s"],
            link=source.link,
            similarity=float(ranked.similarity[place]),  # type: ignore[union-attr]
            probability=None if probability is None else float(probability[place]),
            preview=films.get(clip["clip_id"], no_film),
        )
        for place, (clip, source) in enumerate(zip(clips, sources, strict=True))
    ]
    topic = ", ".join(part for part in (request.sport or "all sports", request.skill) if part)
    return AdviceView(request.path.name, topic, start_s, end_s, films[YOU], suggestions, why, notes)


def as_rows(view: AdviceView) -> list[dict[str, Any]]:
    """The list that ``--json`` writes: rank, video_id, start_s, end_s, narration, probability (null
    without one).
    """
    return [
        {
            "rank": each.rank,
            "video_id": each.video_id,
            "start_s": round(each.start_s, 3),
            "end_s": round(each.end_s, 3),
            "narration": each.narration,
            "probability": None if each.probability is None else round(each.probability, 4),
        }
        for each in view.suggestions
    ]
