"""The funnel explorer as a pure view: what was dropped, where and why, with examples; and the path
of one video.

The path answers "why is this clip not here?": every sentence of a video, in time, with the verdict
of 01, what 02 saw under it, and where it ended. Nothing is decided here: all of it stands in the
tables that 01, 02 and 05 wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import polars as pl

from sportskills_lib.runs import artifacts
from sportskills_lib.viewing import retrieved_queries
from sportskills_lib.viewing.markup import Html, style_tag, template
from sportskills_lib.viewing.previews import Span

EXAMPLES, SENTENCES = 6, 40  # on a page: an hour of talk with all its strips would be megabytes
LOSSES = dict.fromkeys(("stage", "item_kind", "reason", "item_id", "detail"), pl.String)
SPAN_ID = re.compile(r"(.+):(\d+)-(\d+)")  # tables.span_id
VIEWS = template("funnel.jinja")


@dataclass(frozen=True)
class FunnelPosition:
    """What is looked at: the reason by its number or a video ("": none), and a page of its examples
    or sentences.
    """

    reason: int = 0
    page: int = 0
    video: str = ""


@dataclass(frozen=True)
class Funnel:
    """What a run kept and dropped.

    ``steps``: (stage, label, how many) in order. ``losses``: stage, item_kind, reason, item_id,
    detail, one row for all that did not go on. ``reasons``: the same counted, in order of stages.
    ``videos``, ``sentences`` (narrations with the window that 02 cut around them and how each
    ended), ``files``: for the path of a video.
    """

    steps: list[tuple[str, str, int]]
    losses: pl.DataFrame
    reasons: pl.DataFrame
    videos: pl.DataFrame
    sentences: pl.DataFrame
    files: dict[str, Path]

    # ---------------------------------------------------------------------------------------- steps

    def moved(self, place: FunnelPosition, by: int) -> FunnelPosition:
        """Another reason; the ends hold."""
        return FunnelPosition(max(0, min(place.reason + by, self.reasons.height - 1)))

    def paged(self, place: FunnelPosition, by: int) -> FunnelPosition:
        """Another page of examples, or of a video's sentences; the ends hold."""
        rows, size = self._examples(place)
        last = max(0, rows.height - 1) // size
        return replace(place, page=max(0, min(place.page + by, last)))

    def opened(self, place: FunnelPosition, example: int) -> FunnelPosition:
        """The video of an example of the page, counted from 1; the same place where there is
        none.
        """
        rows = self.shown_rows(place)
        if place.video or example > rows.height:
            return place
        return FunnelPosition(place.reason, video=self.video_of(rows["item_id"][example - 1]))

    def video_of(self, item_id: str) -> str:
        """The video that an item's id names: the id itself where a video has it, or what stands
        before its span or line; a learner's or a rating's take stands before its moment.
        """
        dropped = self.losses.filter(pl.col("item_kind") == "video")["item_id"]
        owner = item_id.rsplit(":", 1)[0]
        for name in (item_id, owner):
            if name in self.videos["video_id"] or name in dropped:
                return name
        return owner.rsplit("@", 1)[0] if item_id in self.losses["item_id"] else item_id

    def _examples(self, place: FunnelPosition) -> tuple[pl.DataFrame, int]:
        """All sentences of the place's video, or all losses of its reason; how many a page has."""
        if place.video:
            said = self.sentences.filter(pl.col("video_id") == place.video)
            return said.sort("start_s"), SENTENCES
        reason, key = self.reasons.slice(place.reason, 1), ["stage", "item_kind", "reason"]
        return self.losses.join(reason, on=key, how="semi", maintain_order="left"), EXAMPLES

    def shown_rows(self, place: FunnelPosition) -> pl.DataFrame:
        """The sentences or losses of the page."""
        rows, size = self._examples(place)
        return rows.slice(place.page * size, size)

    def cases(self, video: str = "") -> list[FunnelPosition]:
        """What a page shows: examples of every reason for which 02 dropped clips, and the way of a
        video.

        Without ``video`` it is the one that taught most and gave no clip, if there is one.
        """
        kinds = self.reasons.select("stage", "item_kind").rows()
        clips = [at for at, kind in enumerate(kinds) if kind == ("02_pairing", "clip")]
        shown = [FunnelPosition(reason) for reason in clips or [0]]
        chosen = video or self.emptied()
        return [*shown, FunnelPosition(video=chosen)] if chosen else shown

    def emptied(self) -> str:
        """The video with most sentences that teach of those that gave no clip; "" where every video
        gave one.
        """
        empty = (
            self.sentences.group_by("video_id")
            .agg(pl.col("kept").any(), taught=pl.col("actionable").sum())
            .filter(~pl.col("kept"), pl.col("taught") > 0)
        )
        return next(iter(empty.sort(-pl.col("taught").cast(int), "video_id")["video_id"]), "")

    def spans(self, place: FunnelPosition) -> list[Span]:
        """The stretches of video whose film strips the place shows, by item."""
        shown = self.shown_rows(place)
        ids = {*shown["window" if place.video else "item_id"].drop_nulls()}
        if not place.video:
            ids |= {told.removeprefix("copy of ") for told in shown["detail"]}
        parsed = [(item, SPAN_ID.fullmatch(item)) for item in sorted(ids)]
        return [
            Span(item, self.files[span[1]], int(span[2]) / 1000, int(span[3]) / 1000)
            for item, span in parsed
            if span and span[1] in self.files and int(span[2]) < int(span[3])
        ]

    # ----------------------------------------------------------------------------------------- HTML

    def html(self, place: FunnelPosition, strips: Mapping[str, bytes]) -> str:
        """The place as a fragment; ``strips``: film strips (WebP) by item, as far as there are
        any.
        """
        shown = self._example_page(place, strips)
        if not place.video:
            shown = VIEWS.columns(self._overview(place), shown)
        return str(VIEWS.view(shown))

    def page(self, places: list[FunnelPosition], strips: Mapping[str, bytes]) -> str:
        """Overview, then examples or paths below each other, with their style."""
        parts = [self._example_page(place, strips) for place in places]
        return f"{style_tag()}{VIEWS.view(self._overview(), *parts)}"

    def _overview(self, place: FunnelPosition | None = None) -> Html:
        """What stayed after each step, and what was dropped for which reason; the place's reason is
        marked.
        """
        return VIEWS.overview(self.steps, self.reasons.rows(), place and place.reason)

    def _example_page(self, place: FunnelPosition, strips: Mapping[str, bytes]) -> Html:
        """Examples of a reason; or why clips of a video are here or not: its way through 01 and 02,
        sentence by sentence.
        """
        (every, size), shown = self._examples(place), self.shown_rows(place).to_dicts()
        first = place.page * size
        if not place.video:
            reason = self.reasons.slice(place.reason, 1).to_dicts()
            return VIEWS.examples(reason, first, shown, strips)
        name, ids, known = place.video, pl.col("item_id"), self.videos["video_id"]
        begins = [ids.str.starts_with(f"{name}{mark}") for mark in (":", "@")]
        own = self.losses.filter((ids == name) | begins[0] | begins[1])
        windows = every["window"].drop_nulls()
        others = own.filter(~ids.is_in([*every["narration_id"], *windows]))
        return VIEWS.path(
            name=name,
            videos=self.videos.filter(known == name).to_dicts(),
            read="01_curation" in own["stage"],
            losses=others.head(50).to_dicts(),
            near=get_close_matches(name[:100], known.to_list(), n=3, cutoff=0.5),
            said={
                "sentences": every.height,
                "windows": windows.n_unique(),
                "clips": every.filter(pl.col("kept"))["window"].n_unique(),
            },
            first=first,
            shown=shown,
            strips=strips,
        )


# ------------------------------------------------------------------------------------------ reading


def read(run: str) -> Funnel:
    """The funnel of a run whose 01 and 02 are complete; later stages join in where they are."""
    complete = {
        name: artifacts.open_stage(run, name)
        for name in artifacts.STAGES
        if name in artifacts.STAGES[:2] or artifacts.is_complete(artifacts.holder(run, name), name)
    }
    dropped = {
        name: stage.table("dropped")
        for name, stage in complete.items()
        if "dropped.parquet" in stage.manifest["outputs"]
    }
    curation, pairing = (complete[name] for name in artifacts.STAGES[:2])
    return funnel(
        curation.table("videos"),
        curation.table("narrations"),
        pairing.table("judged"),
        pairing.table("clips"),
        dropped,
        retrieved_queries.video_files(run),
    )


def funnel(
    videos: pl.DataFrame,
    narrations: pl.DataFrame,
    judged: pl.DataFrame,
    clips: pl.DataFrame,
    dropped: Mapping[str, pl.DataFrame],
    files: dict[str, Path],
) -> Funnel:
    """The funnel of these tables; ``dropped`` by stage. Verdicts that drop nothing from a table are
    losses, too.
    """
    none = pl.DataFrame(schema=LOSSES)
    sentences = _sentences(narrations, judged, clips, dropped.get("02_pairing", none))
    losses = _losses(narrations, judged, dropped)
    order = pl.col("stage").replace_strict({name: at for at, name in enumerate(artifacts.STAGES)})
    reasons = losses.group_by("stage", "item_kind", "reason").agg(count=pl.len())
    reasons = reasons.sort(order, "count", "reason", descending=[False, True, False])
    splits = clips.group_by(pl.col("split").cast(pl.String)).len().sort("split").rows()
    steps = [
        ("01_curation", "videos that could be read", videos.height),
        ("01_curation", "sentences", narrations.height),
        ("01_curation", "sentences that teach", int(narrations["actionable"].sum() or 0)),
        ("02_pairing", "windows cut", judged.height),
        ("02_pairing", "windows under words that teach", int((judged["said"] != "none").sum())),
        ("02_pairing", "clips kept", clips.height),
        *(("02_pairing", f"clips for {split}", count) for split, count in splits),
    ]
    return Funnel(steps, losses, reasons, videos, sentences, files)


def _losses(
    narrations: pl.DataFrame, judged: pl.DataFrame, dropped: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    listed = [
        frame.select(pl.lit(stage).alias("stage"), *list(LOSSES)[1:])
        for stage, frame in dropped.items()
        if frame.height
    ]
    idle = narrations.filter(~pl.col("actionable").fill_null(False)).select(
        stage=pl.lit("01_curation"),
        item_kind=pl.lit("sentence"),
        reason=pl.when(pl.col("actionable").is_null())
        .then(pl.lit("undecided"))
        .otherwise(pl.lit("does_not_teach")),
        item_id="narration_id",
        detail=pl.format("{} ({})", "text", "reason"),
    )
    still = judged.filter(pl.col("said") == "none").select(
        stage=pl.lit("02_pairing"),
        item_kind=pl.lit("window"),
        reason=pl.lit("words_do_not_teach"),
        item_id="clip_id",
        detail="text",
    )
    return pl.concat([pl.DataFrame(schema=LOSSES), *listed, idle, still])


def _sentences(
    narrations: pl.DataFrame, judged: pl.DataFrame, clips: pl.DataFrame, dropped: pl.DataFrame
) -> pl.DataFrame:
    """Narrations with window, demonstration, score, moved, said, kept, ended (in words)."""
    windows = judged.select(
        "demonstration", "score", "moved", "said", window="clip_id", narration_id="narration_ids"
    )
    splits = clips.select(pl.col("split").cast(pl.String), window="clip_id")
    reasons = dropped.select(
        "detail", window="item_id", why=pl.col("reason").str.replace_all("_", " ")
    )
    full = (
        narrations.select("narration_id", "video_id", "start_s", "text", "actionable", "reason")
        .join(
            windows.explode("narration_id").unique("narration_id", maintain_order=True),
            on="narration_id",
            how="left",
        )
        .join(splits, on="window", how="left")
        .join(reasons.unique("window", maintain_order=True), on="window", how="left")
    )
    ended = (
        pl.when(pl.col("split").is_not_null())
        .then(pl.format("clip {} ({})", "window", "split"))
        .when(pl.col("why").is_not_null())
        .then(pl.format("dropped: {}, {}", "why", "detail"))
        .when(pl.col("window").is_null())
        .then(pl.lit("no window around it"))
        .when(pl.col("said") == "none")
        .then(pl.lit("no clip: the words do not teach"))
        .otherwise(pl.lit("no clip"))
    )
    return full.with_columns(kept=pl.col("split").is_not_null(), ended=ended).drop(
        "split", "why", "detail"
    )
