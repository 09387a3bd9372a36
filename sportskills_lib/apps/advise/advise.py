"""From a learner's file to a page and a list: read, find the action, embed, rank, cut previews."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sportskills_lib.apps.advise import fit_check, ranking
from sportskills_lib.apps.advise.learner_clip import (
    LearnerClip,
    NothingFits,
    check_span,
    read_learner,
)
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
    if not request.path.is_file():
        raise ValueError(f"{plain(str(request.path))} is no file: name one video of the learner")
    library = open_library(request.run, encoder=request.encoder)
    span = check_span(request.start_s, request.end_s, library.config)
    cache = ContentStore(artifacts.workspace() / "data/cache/advice", limit_bytes=CACHE_BYTES)
    learner, ranked, notes, why = None, None, list[str](), ""
    try:
        clips = choose_clips(library, request.sport, request.skill, request.split)
        log(f"reading {plain(request.path.name)}")
        learner = read_learner(
            request.path, library.config, cache=cache, span=span,
            usual_s=(clips["end_s"] - clips["start_s"]).median(),  # type: ignore[arg-type]
            workers=min(request.workers, 1),
        )  # fmt: skip
        how = "as requested" if span else f"where most of its {clock(learner.duration_s)} moves"
        log(f"the action: {clock(learner.start_s)} to {clock(learner.end_s)}, {how}")
        vector = ranking.embed(library, learner, cache, log)
        sport = clips["sport"][0] if request.sport else None
        note = _check_fit(library, vector, sport, cache, log)
        among = f"{clips.height} clips of {sport or 'all sports'}"
        log(f"ranking {among}")
        config = library.retrieval.manifest["config"] if library.retrieval else {}
        ranked = ranking.rank(
            library, learner, vector, clips["row"].to_numpy(), cache=cache, log=log,
            depth=max(request.top, request.shortlist or config.get("shortlist", SHORTLIST)),
            server=Server(*request.served) if request.served else None,
        )  # fmt: skip
        count = f"{among} in run {library.run}, ranked by {ranked.how}."
        notes = [count, note, _probability_note(library, ranked)]
    except NothingFits as nothing:
        why = str(nothing)
    log(f"cutting {min(request.top, len(ranked.rows)) + 1 if ranked else 1} previews")
    return _view(request, library, learner, ranked, why, notes)


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
    start_s, end_s = request.start_s or 0.0, request.end_s or previews.MOST_S
    if learner:
        start_s, end_s = learner.start_s, min(learner.end_s, learner.duration_s)
    clips = library.clips[ranked.rows[: request.top]].to_dicts() if ranked else []
    nowhere = Path("gone")  # a preview of it says that it is missing
    spans = [previews.Span(YOU, request.path, start_s, end_s)]
    for clip in clips:
        path = library.files.get(clip["video_id"], nowhere)
        spans.append(previews.Span(clip["clip_id"], path, clip["start_s"], clip["end_s"]))
    films = previews.make_previews(spans, cache=previews.preview_cache(), workers=request.workers)
    kept = ("demonstration", "skill", "video_id", "start_s", "end_s")
    probability = None if ranked is None else ranked.probability
    suggestions = [
        Suggestion(
            rank=place + 1,
            narration=clip["text"],
            similarity=float(ranked.similarity[place]),  # type: ignore[union-attr]
            probability=None if probability is None else float(probability[place]),
            preview=films[clip["clip_id"]],
            **{name: clip[name] for name in kept},
            **source_of(library, clip["video_id"], clip["start_s"]),
        )
        for place, clip in enumerate(clips)
    ]
    topic = ", ".join(filter(None, (request.sport or "all sports", request.skill)))
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
