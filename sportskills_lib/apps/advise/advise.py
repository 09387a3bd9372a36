"""From a learner's file to a page and a list: read, find the action, embed, rank, cut previews."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib.apps.advise import fit_check, ranking
from sportskills_lib.apps.advise.learner_clip import NothingFits, check_span, read_learner
from sportskills_lib.apps.advise.ranking import RankedClips
from sportskills_lib.apps.advise.run_library import (
    AdviceLibrary,
    choose_clips,
    open_library,
    source_of,
)
from sportskills_lib.plots.style import plain
from sportskills_lib.retrieval.relevance.served import Server
from sportskills_lib.runs import artifacts
from sportskills_lib.runs.content_store import ContentStore
from sportskills_lib.viewing import previews
from sportskills_lib.viewing.advice_page import AdviceView
from sportskills_lib.viewing.markup import clock

CACHE_BYTES = 500 * 10**6
SHORTLIST = 20
YOU = ""  # the learner's name among the previews: no clip id is empty


def advise(
    path: Path,
    run: str,
    log: Callable[[str], None],
    *,
    sport: str | None = None,
    skill: str | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    top: int = 5,
    shortlist: int | None = None,
    encoder: str | None = None,
    served: tuple[str, str] | None = None,
    split: str | None = None,
    workers: int = 2,
) -> AdviceView:
    """The clips of the run's library that may help who is filmed in ``path``; none, and why, where
    nothing fits. ``log`` gets a line for each step.

    ``sport`` and ``skill`` as people spell them; the action lies from ``start_s`` to ``end_s``, by
    default where most moves. ``shortlist``: by default as many as 04 looked at, or SHORTLIST.
    ``served``: address and name of 04's model, by default loaded here. ``split``: only clips of one
    split, as 04 ranks for its learners. ``workers``: processes that read videos; 0: none, for
    tests. What is wrong with the file, the span, the sport or the run is a ValueError that names
    the remedy, raised before a model is loaded.
    """
    if not (path.is_file() and os.access(path, os.R_OK)):
        raise ValueError(
            f"{plain(str(path))} is no file that you may read: name one video of the learner"
        )
    library = open_library(run, encoder=encoder)
    asked = check_span(start_s, end_s, library.config)
    cache = ContentStore(artifacts.workspace() / "data/cache/advice", limit_bytes=CACHE_BYTES)
    span, ranked, notes, why = asked or (0.0, previews.MOST_S), None, list[str](), ""
    try:
        clips = choose_clips(library, sport, skill, split)
        log(f"reading {plain(path.name)}")
        usual_s: Any = (clips["end_s"] - clips["start_s"]).median()
        learner = read_learner(
            path,
            library.config,
            cache=cache,
            span=asked,
            usual_s=usual_s,
            workers=min(workers, 1),
        )
        span = learner.span
        how = "as requested" if asked else f"where most of its {clock(learner.duration_s)} moves"
        log(f"the action: {clock(span[0])} to {clock(span[1])}, {how}")
        vector = ranking.embed(library, learner, cache, log)
        known = clips["sport"][0] if sport else None
        note = _check_fit(library, vector, known, cache, log)
        among = f"{clips.height} clips of {known or 'all sports'}"
        log(f"ranking {among}")
        config = library.retrieval.manifest["config"] if library.retrieval else {}
        ranked = ranking.rank(
            library, learner, vector, clips["row"].to_numpy(), cache=cache, log=log,
            depth=max(top, shortlist or config.get("shortlist", SHORTLIST)), sport=known,
            server=Server(*served) if served else None,
        )  # fmt: skip
        count = f"{among} in run {library.run}, ranked by {ranked.how}."
        ranked, moved = _with_one_correct(library, ranked, top)
        notes = [count, *moved, note, _probability_note(ranked)]
    except NothingFits as nothing:
        why = str(nothing)
    log(f"cutting {min(top, len(ranked.rows)) + 1 if ranked else 1} previews")
    own = previews.Span(YOU, path, *span)
    suggestions, film = _suggest(library, ranked, top, own, workers)
    topic = ", ".join(filter(None, (sport or "all sports", skill)))
    mistake = ranked.mistake if ranked else None
    return AdviceView(path.name, topic, *span, film, suggestions, why, notes, mistake)


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


def _with_one_correct(
    library: AdviceLibrary, ranked: RankedClips, top: int
) -> tuple[RankedClips, list[str]]:
    """The clips with one done correctly among the first ``top``: where there is none, the best of
    the shortlist comes last of them. And a note where that was so.
    """
    labels = library.clips["demonstration"].cast(pl.String).to_numpy()[ranked.rows]
    places = np.flatnonzero(labels == "correct")
    if len(places) and places[0] < top:
        return ranked, []
    if not len(places):
        return ranked, [f"By 02's label none of the nearest {len(labels)} is done correctly."]
    order = np.insert(np.delete(np.arange(len(labels)), places[0]), top - 1, places[0])
    probability = None if ranked.probability is None else ranked.probability[order]
    rows, alike = ranked.rows[order], ranked.similarity[order]
    moved = replace(ranked, rows=rows, similarity=alike, probability=probability)
    return moved, [f"Clip {top} is the best one done correctly: the nearer ones show mistakes."]


def _probability_note(ranked: RankedClips) -> str:
    if ranked.probability is not None:
        return (
            "How likely a clip is to help is the score of the ranking, or of the relevance model "
            "where that has a part in it, calibrated on 04's validation learners, whose labels "
            "are weak: compare within this page."
        )
    return (
        "No probability: what ranked these clips is not calibrated; this run's 04 had no learners, "
        "or too few for validation, or ranks with another encoder."
    )


def _suggest(
    library: AdviceLibrary, ranked: RankedClips | None, top: int, own: previews.Span, workers: int
) -> tuple[list[dict[str, Any]], previews.Preview]:
    """The first clips with their films, and the film of the learner's ``own`` span."""
    clips = library.clips[ranked.rows[:top]].to_dicts() if ranked else []
    nowhere = Path("a path outside the library's folder")  # a preview of it says so
    spans = [own]
    for clip in clips:
        path = library.files.get(clip["video_id"], nowhere)
        spans.append(previews.Span(clip["clip_id"], path, clip["start_s"], clip["end_s"]))
    films = previews.make_previews(spans, cache=previews.preview_cache(), workers=workers)
    probability = None if ranked is None else ranked.probability
    suggestions = [
        clip
        | source_of(library, clip["video_id"], clip["start_s"])
        | {
            "rank": place + 1,
            "narration": clip["text"],
            "similarity": float(ranked.similarity[place]),  # type: ignore[union-attr]
            "probability": None if probability is None else float(probability[place]),
            "preview": films[clip["clip_id"]],
        }
        for place, clip in enumerate(clips)
    ]
    return suggestions, films[YOU]


def as_rows(view: AdviceView) -> list[dict[str, Any]]:
    """The list that ``--json`` writes: rank, video_id, start_s, end_s, narration, probability (null
    without one).
    """
    return [
        {
            "rank": each["rank"],
            "video_id": each["video_id"],
            "start_s": round(each["start_s"], 3),
            "end_s": round(each["end_s"], 3),
            "narration": each["narration"],
            "probability": None if each["probability"] is None else round(each["probability"], 4),
        }
        for each in view.suggestions
    ]
