"""From a learner's file to a page and a list: read, find the action, embed, rank, cut previews."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sportskills_lib.apps.advise import ranking
from sportskills_lib.apps.advise import run_library as libraries
from sportskills_lib.apps.advise.learner_clip import (
    ClipShape,
    Learner,
    NoMotion,
    check_file,
    check_span,
    read_learner,
)
from sportskills_lib.apps.advise.run_library import Library, NothingFits
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
class Asked:
    """What a learner asks: the file, its sport and skill, where the action is, how many clips."""

    path: Path
    run: str
    sport: str | None = None
    skill: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    top: int = 5
    shortlist: int | None = None  # None: as many as 04 looked at, or SHORTLIST
    encoder: str | None = None
    served: tuple[str, str] | None = (
        None  # address and name of 04's relevance model at a server; None: loaded here
    )
    workers: int = 2  # processes that read videos; 0: none, for tests


def advise(asked: Asked, say: Callable[[str], None]) -> AdviceView:
    """The clips of the run's library that may help; none, and why, where nothing fits. ``say`` is
    told each step.

    What is wrong with the file, the span, the sport or the run is a ValueError that names the
    remedy, raised before a model is loaded.
    """
    check_file(asked.path)
    library = libraries.open_library(asked.run, encoder=asked.encoder)
    shape = ClipShape.of(library.shape_config)
    check_span(asked.start_s, asked.end_s, shape)
    cache = ContentStore(artifacts.workspace() / "data/cache/advice", limit_bytes=CACHE_BYTES)
    learner: Learner | None = None
    try:
        clips = libraries.choose_clips(library, asked.sport, asked.skill)
        learner = _read(asked, clips, shape, cache, say)
        rows, ranked, notes = _ranked(asked, library, clips, learner, cache, say)
        why = ""
    except (NothingFits, NoMotion) as nothing:
        why, notes, ranked, rows = str(nothing), [], None, np.zeros(0, np.int64)
    say(f"cutting {len(rows) + 1} previews")
    return _view(asked, library, learner, rows, ranked, why, notes)


def _read(
    asked: Asked,
    clips: pl.DataFrame,
    shape: ClipShape,
    cache: ContentStore,
    say: Callable[[str], None],
) -> Learner:
    say(f"reading {plain(asked.path.name)}")
    usual_s = float((clips["end_s"] - clips["start_s"]).median())  # type: ignore[arg-type]
    learner = read_learner(
        asked.path,
        shape,
        start_s=asked.start_s,
        end_s=asked.end_s,
        usual_s=usual_s,
        cache=cache,
        workers=min(asked.workers, 1),
    )
    found = (
        "as asked"
        if asked.start_s is not None
        else f"where most of its {clock(learner.duration_s)} moves"
    )
    say(f"the action: {clock(learner.start_s)} to {clock(learner.end_s)}, {found}")
    return learner


def _ranked(
    asked: Asked,
    library: Library,
    clips: pl.DataFrame,
    learner: Learner,
    cache: ContentStore,
    say: Callable[[str], None],
) -> tuple[np.ndarray, ranking.Ranked, list[str]]:
    """Rows of the clips to show, the whole ranking, and notes on how it came about. NothingFits
    below the threshold.
    """
    vector = ranking.embed(library, learner, cache, say)
    name = clips["sport"][0] if asked.sport else None
    notes = [_fits(library, vector, name, cache, say)]
    say(f"ranking {clips.height} clips of {name or 'all sports'}")
    config = library.retrieval.manifest["config"] if library.retrieval else {}
    shortlist = max(asked.top, asked.shortlist or config.get("shortlist", SHORTLIST))
    rows = clips["row"].to_numpy()
    server = Server(*asked.served) if asked.served else None
    ranked = ranking.rank(
        library, learner, vector, rows, shortlist=shortlist, cache=cache, say=say, server=server
    )
    count = (
        f"{clips.height} clips of {name or 'all sports'} in run {library.run}, ranked by "
        f"{ranked.how}."
    )
    return ranked.rows[: asked.top], ranked, [count, *notes, _sure(library, ranked)]


def _fits(
    library: Library,
    vector: np.ndarray,
    sport: str | None,
    cache: ContentStore,
    say: Callable[[str], None],
) -> str:
    """What the check found, in words. NothingFits where the clip looks more like other sports than
    the usual.
    """
    if sport is None:
        return "No sport was named, so whether anything fits at all was not asked."
    check = ranking.check_of(library, cache, say)
    if check.threshold is None:
        return f"Whether anything fits at all could not be asked: {check.why}."
    margin = ranking.margin(library, vector, sport)
    worth = (
        f"The threshold passes {100 * (1 - ranking.REFUSED):.0f} % of {check.asked} "
        f"{check.whose} under their own "
        f"sport, and stops {100 * check.stopped:.0f} % of them under another's."
    )
    if margin < check.threshold:
        raise NothingFits(
            f"Your clip looks like clips of other sports rather than like {sport}: it is "
            f"{margin:+.3f} nearer to "
            f"{sport}, and below {check.threshold:+.3f} nothing is shown. {worth} If it does "
            "show "
            f"{sport}, say with --start and --end where, or leave --sport out to search all "
            "sports."
        )
    return (
        f"Your clip is {margin:+.3f} nearer to {sport} than to any other sport; below "
        f"{check.threshold:+.3f} nothing "
        f"would be shown. {worth}"
    )


def _sure(library: Library, ranked: ranking.Ranked) -> str:
    if ranked.probability is not None:
        return (
            "How likely a clip is to help is the score of the ranking, or of the relevance "
            "model where that has a part "
            "in it, calibrated on 04's validation learners, whose labels are weak: compare "
            "within this page."
        )
    if library.retrieval is None:
        return (
            "No probability: this run has no relevance model (04 needs learners), so the "
            "encoder alone decided."
        )
    return (
        "No probability: what ranked these clips could not be calibrated; 04 has too few "
        "validation learners."
    )


def _view(
    asked: Asked,
    library: Library,
    learner: Learner | None,
    rows: np.ndarray,
    ranked: ranking.Ranked | None,
    why: str,
    notes: list[str],
) -> AdviceView:
    """The page's content, with a film of each clip."""
    clips = [library.clips.row(int(row), named=True) for row in rows]
    sources = [libraries.source_of(library, clip["video_id"], clip["start_s"]) for clip in clips]
    start_s = learner.start_s if learner else asked.start_s or 0.0
    end_s = learner.end_s if learner else asked.end_s or start_s + previews.MOST_S
    spans = [previews.Span(YOU, asked.path, start_s, end_s)]
    for clip, source in zip(clips, sources, strict=True):
        if source.path is not None:
            spans.append(
                previews.Span(clip["clip_id"], source.path, clip["start_s"], clip["end_s"])
            )
    cut = previews.make_previews(spans, cache=previews.preview_cache(), workers=asked.workers)
    lost = previews.Preview(reason="its source is not in the library's folder")
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
            probability=None
            if ranked is None or ranked.probability is None
            else float(ranked.probability[place]),
            preview=cut.get(clip["clip_id"], lost),
        )
        for place, (clip, source) in enumerate(zip(clips, sources, strict=True))
    ]
    topic = ", ".join(part for part in (asked.sport or "all sports", asked.skill) if part)
    return AdviceView(asked.path.name, topic, start_s, end_s, cut[YOU], suggestions, why, notes)


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
