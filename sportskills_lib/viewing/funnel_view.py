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
from sportskills_lib.viewing.markup import clock, image_tag, style_tag, text
from sportskills_lib.viewing.previews import Span

EXAMPLES, SENTENCES = 6, 40  # on a page: an hour of talk with all its strips would be megabytes
LOSSES = dict.fromkeys(("stage", "item_kind", "reason", "item_id", "detail"), pl.String)
SPAN_ID = re.compile(r"(.+):(\d+)-(\d+)")  # tables.span_id


@dataclass(frozen=True)
class FunnelPosition:
    """What is looked at: the reason by its number, a page of its examples, or a video ("": none), a
    page of its own.
    """

    reason: int = 0
    page: int = 0
    video: str = ""
    sentences: int = 0


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
        if place.video:
            last = max(0, self._narrations(place.video).height - 1) // SENTENCES
            return replace(place, sentences=max(0, min(place.sentences + by, last)))
        count = self.reasons["count"][place.reason] if self.reasons.height else 0
        return FunnelPosition(
            place.reason, max(0, min(place.page + by, max(0, count - 1) // EXAMPLES))
        )

    def opened(self, place: FunnelPosition, example: int) -> FunnelPosition:
        """The video of an example of the page, counted from 1; the same place where there is
        none.
        """
        rows = self.examples(place)
        found = rows["item_id"][example - 1] if 0 < example <= rows.height else ""
        return FunnelPosition(place.reason, place.page, self.video_of(found)) if found else place

    def video_of(self, item_id: str) -> str:
        """The video that an item's id names: the id itself where a video has it, or what stands
        before its span or line; a learner's or a rating's take stands before its moment.
        """
        found = SPAN_ID.fullmatch(item_id)
        owner = found[1] if found else item_id.rsplit(":", 1)[0]
        if known := [name for name in (item_id, owner) if name in self._video_ids()]:
            return known[0]
        return owner.rsplit("@", 1)[0] if item_id in self.losses["item_id"] else item_id

    def _video_ids(self) -> set[str]:
        """The ids of videos: those that 01 kept, and those that it dropped whole."""
        dropped = self.losses.filter(pl.col("item_kind") == "video")["item_id"]
        return {*self.videos["video_id"], *dropped}

    def _narrations(self, video: str) -> pl.DataFrame:
        return self.sentences.filter(pl.col("video_id") == video).sort("start_s")

    def examples(self, place: FunnelPosition) -> pl.DataFrame:
        """The losses of a reason that the page shows."""
        if not self.reasons.height:
            return self.losses.head(0)
        stage, kind, reason, _ = self.reasons.row(place.reason)
        same = (
            (pl.col("stage") == stage)
            & (pl.col("item_kind") == kind)
            & (pl.col("reason") == reason)
        )
        return self.losses.filter(same).slice(place.page * EXAMPLES, EXAMPLES)

    def cases(self, video: str = "") -> list[FunnelPosition]:
        """What a page shows: examples of every reason for which 02 dropped clips, and the way of a
        video.

        Without ``video`` it is the one that taught most and gave no clip, if there is one.
        """
        kinds = self.reasons.select("stage", "item_kind").rows()
        clips = [
            FunnelPosition(at) for at, kind in enumerate(kinds) if kind == ("02_pairing", "clip")
        ]
        return (clips or [FunnelPosition()]) + [
            FunnelPosition(video=name) for name in (video or self.emptied(),) if name
        ]

    def emptied(self) -> str:
        """The video with most sentences that teach of those that gave no clip; "" where every video
        gave one.
        """
        counted = self.sentences.group_by("video_id").agg(
            pl.col("kept").any(), taught=pl.col("actionable").sum()
        )
        empty = counted.filter(~pl.col("kept") & (pl.col("taught") > 0)).sort(
            "taught", "video_id", descending=[True, False]
        )
        return empty["video_id"][0] if empty.height else ""

    def spans(self, place: FunnelPosition) -> list[Span]:
        """The stretches of video whose film strips the place shows, by item."""
        if place.video:
            page = self._narrations(place.video).slice(place.sentences * SENTENCES, SENTENCES)
            ids = page["window"].drop_nulls().unique().to_list()
        else:
            shown = self.examples(place)
            ids = [*shown["item_id"], *(told.removeprefix("copy of ") for told in shown["detail"])]
        parsed = [(item, SPAN_ID.fullmatch(item)) for item in sorted(set(ids))]
        return [
            Span(item, self.files[span[1]], int(span[2]) / 1000, int(span[3]) / 1000)
            for item, span in parsed
            if span and span[1] in self.files and int(span[2]) < int(span[3])
        ]

    # ----------------------------------------------------------------------------------------- HTML

    def html(self, place: FunnelPosition, strips: Mapping[str, bytes] | None = None) -> str:
        """The place as a fragment; ``strips``: film strips (WebP) by item."""
        if place.video:
            return _view(self.path(place.video, strips, page=place.sentences))
        return _view(
            f'<div class="two"><div>{self.overview(place)}</div>'
            f"<div>{self._examples(place, strips)}</div></div>"
        )

    def page(self, places: list[FunnelPosition], strips: Mapping[str, bytes] | None = None) -> str:
        """Overview, then examples or paths below each other, with their style."""
        parts = [
            self.path(place.video, strips) if place.video else self._examples(place, strips)
            for place in places
        ]
        return style_tag() + _view(self.overview() + "".join(parts))

    def overview(self, place: FunnelPosition | None = None) -> str:
        """What stayed after each step, and what was dropped for which reason; the place's reason is
        marked.
        """
        whole = {label: count for _, label, count in self.steps[:1]}
        most = max([*whole.values(), *(count for _, _, count in self.steps), 1])
        kept = "".join(
            _bar(stage, label, count, most, "kept") for stage, label, count in self.steps
        )
        highest = max([*self.reasons["count"].to_list(), 1])
        lost = "".join(
            _bar(
                stage,
                f"{kind}: {reason.replace('_', ' ')}",
                count,
                highest,
                "at" if place and place.reason == at else "",
            )
            for at, (stage, kind, reason, count) in enumerate(self.reasons.iter_rows())
        )
        head = (
            '<tr><th>stage</th><th>{}</th><th class="n">count</th><th style="width:35%"></th></tr>'
        )
        return (
            f"<table>{head.format('what stayed')}{kept}</table><br>"
            f"<table>{head.format('what was dropped, and why')}{lost or '<tr><td>nothing</td></tr>'}</table>"
        )

    def _examples(self, place: FunnelPosition, strips: Mapping[str, bytes] | None) -> str:
        rows = self.examples(place)
        if not rows.height:
            return "<p>Nothing was dropped.</p>"
        stage, kind, reason, count = self.reasons.row(place.reason)
        first = place.page * EXAMPLES
        title = (
            f"{stage} · {kind}: {reason.replace('_', ' ')} · {first + 1} to "
            f"{first + rows.height} of {count}"
        )
        items = "".join(
            f'<tr><td class="n">{at}</td><td>{text(row["item_id"])}</td>'
            f"<td>{text(row['detail'])}{_strip(row['item_id'], strips)}"
            f"{_strip(row['detail'].removeprefix('copy of '), strips)}</td></tr>"
            for at, row in enumerate(rows.iter_rows(named=True), 1)
        )
        return f"<p><b>{text(title)}</b></p><table>{items}</table>"

    def path(self, video: str, strips: Mapping[str, bytes] | None = None, *, page: int = 0) -> str:
        """Why clips of this video are here or not: its way through 01 and 02, sentence by
        sentence.
        """
        mine = [pl.col("item_id").str.starts_with(f"{video}{mark}") for mark in (":", "@")]
        own = self.losses.filter((pl.col("item_id") == video) | mine[0] | mine[1])
        row = self.videos.filter(pl.col("video_id") == video)
        head = f"<p><b>{text(video)}</b> "
        if row.height:
            facts = row.row(0, named=True)
            about = (
                facts["title"],
                facts["channel"],
                facts["sport"],
                facts["skill"],
                clock(facts["duration_s"]),
            )
            head += text(" · ".join(str(part) for part in about if part)) + "</p>"
        elif own.filter(pl.col("stage") == "01_curation").height:
            head += "was not kept by 01.</p>"
        elif own.height:
            head += "is no video of 01, but a learner's take. What was dropped of it:</p>"
        else:
            return head + (
                f"is no video of this run: 01 read nothing under this id.{self._like(video)}</p>"
            )
        said, first = self._narrations(video), page * SENTENCES
        clips = said.filter(pl.col("kept"))["window"].n_unique()
        counts = (
            f"{said.height} sentences, {said['window'].drop_nulls().n_unique()} windows, "
            f"{clips} clips kept"
        )
        dropped = own.filter(
            ~pl.col("item_id").is_in([*said["narration_id"], *said["window"].drop_nulls()])
        )
        others = "".join(
            f"<li>{text(line['stage'])}, {text(line['item_kind'])} {text(line['item_id'])}: "
            f'<span class="out">{text(line["reason"].replace("_", " "))}</span> '
            f"{text(line['detail'])}</li>"
            for line in dropped.head(50).iter_rows(named=True)
        )
        shown = said.slice(first, SENTENCES)
        if shown.height < said.height:
            counts += f"; {first + 1} to {first + shown.height} are shown (keys n and p: others)"
        table = "".join(_sentence(line, strips) for line in shown.iter_rows(named=True))
        heads = "".join(
            f"<th>{name}</th>"
            for name in (
                "when",
                "what is said",
                "01: does it teach?",
                "02: what is seen",
                "ended as",
            )
        )
        below = f"<table><tr>{heads}</tr>{table}</table>" if table else ""
        summary = f"<p>{text(counts)}</p>" if row.height else ""
        return f"{head}{summary}{f'<ul>{others}</ul>' if others else ''}{below}"

    def _like(self, video: str) -> str:
        close = get_close_matches(video[:100], self.videos["video_id"].to_list(), n=3, cutoff=0.5)
        return f" Near it are {', '.join(text(name) for name in close)}." if close else ""


def _view(body: str) -> str:
    return f'<div class="sk-view funnel">{body}</div>'


def _bar(stage: str, label: str, count: int, most: int, css: str) -> str:
    width = max(0.3, 100 * count / most)
    return (
        f'<tr class="{css}"><td>{text(stage)}</td><td>{text(label)}</td><td '
        f'class="n">{count:,}</td>'
        f'<td><div class="bar" style="width:{width:.1f}%"></div></td></tr>'
    )


def _strip(item_id: str | None, strips: Mapping[str, bytes] | None) -> str:
    strip = (strips or {}).get(item_id or "")
    return image_tag(strip, alt="film strip") if strip else ""


def _sentence(row: Mapping, strips: Mapping[str, bytes] | None) -> str:
    verdict = {True: "teaches", False: "does not teach", None: "undecided"}[row["actionable"]]
    seen = (
        "no window"
        if row["window"] is None
        else f"{row['demonstration']} at {row['score']:.2f}; {row['moved']:.1%} moves"
    )
    css = "in" if row["kept"] else "out"
    return (
        f'<tr><td class="n">{clock(row["start_s"])}</td><td>{text(row["text"])}</td>'
        f"<td>{verdict}: "
        f"{text(row['reason'])}</td><td>{text(seen)}{_strip(row['window'], strips)}</td>"
        f'<td class="{css}">{text(row["ended"])}</td></tr>'
    )


# ------------------------------------------------------------------------------------------ reading


def read(run: str) -> Funnel:
    """The funnel of a run whose 01 and 02 are complete; later stages join in where they are."""
    curation, pairing = (
        artifacts.open_stage(run, "01_curation"),
        artifacts.open_stage(run, "02_pairing"),
    )
    stages = {"01_curation": curation, "02_pairing": pairing}
    for name in artifacts.STAGES[2:]:
        if artifacts.is_complete(artifacts.holder(run, name), name):
            stages[name] = artifacts.open_stage(run, name)
    dropped = {
        name: stage.table("dropped")
        for name, stage in stages.items()
        if "dropped.parquet" in stage.manifest["outputs"]
    }
    tables = (
        curation.table("videos"),
        curation.table("narrations"),
        pairing.table("judged"),
        pairing.table("clips"),
    )
    return funnel(*tables, dropped, retrieved_queries.video_files(run))


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
    sentences = _sentences(
        narrations, judged, clips, dropped.get("02_pairing", pl.DataFrame(schema=LOSSES))
    )
    losses = _losses(narrations, judged, dropped)
    order = {stage: at for at, stage in enumerate(artifacts.STAGES)}
    reasons = losses.group_by("stage", "item_kind", "reason").agg(count=pl.len())
    reasons = reasons.sort(
        pl.col("stage").replace_strict(order), "count", "reason", descending=[False, True, False]
    )
    taught = narrations["actionable"].sum()
    steps = [
        ("01_curation", "videos that could be read", videos.height),
        ("01_curation", "sentences", narrations.height),
        ("01_curation", "sentences that teach", int(taught or 0)),
        ("02_pairing", "windows cut", judged.height),
        (
            "02_pairing",
            "windows under words that teach",
            judged.filter(pl.col("said") != "none").height,
        ),
        ("02_pairing", "clips kept", clips.height),
        *(
            ("02_pairing", f"clips for {split}", count)
            for split, count in clips.group_by(pl.col("split").cast(pl.String))
            .len()
            .sort("split")
            .iter_rows()
        ),
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
