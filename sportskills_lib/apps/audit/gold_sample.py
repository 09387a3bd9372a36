"""A gold sample: the question about a filter, a stratified draw of its decisions, and the CSV in
which people label them.

A filter's *items* are a lazy table of every item that it decided in a run: item_id, verdict, sport,
confidence (0 … 1, null where the judge gives none), text, and one or two spans of video to look at;
a run may have millions. A new filter is a new entry of ``QUESTIONS`` and a function that lists its
items.

Strata are verdict and sport. Every verdict gets an equal share of the sample, so that a rare one is
seen often enough; within a verdict the sports get equal shares, as far as there are items. Where a
verdict has more sports than items to draw, it is one stratum: otherwise some sports would never be
drawn. Each item has its stratum and the stratum's size, so that scores can be weighted back to the
population. The same seed draws the same items.

Spreadsheets open and save the CSV without harm. Cells that they would take for a formula (they
begin with =, +, -, @, a tab or a line break) get an apostrophe in front, as do cells that begin
with one; reading takes it away again. Files are replaced whole, never half written. Reading accepts
any encoding and delimiter and decimal commas, checks every cell, and ignores columns that it does
not know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from sportskills_lib.formats.files import guard_cells, read_delimited, write_whole
from sportskills_lib.retrieval.supervision.labelling import clip_texts
from sportskills_lib.runs import artifacts
from sportskills_lib.runs.errors import short_path

ITEMS: dict[str, type[pl.DataType]] = {
    "item_id": pl.String,
    "verdict": pl.String,
    "sport": pl.String,
    "confidence": pl.Float64,
    "text": pl.String,
    "video_id": pl.String,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "other_video_id": pl.String,  # of a pair, the clip that it may be a copy of
    "other_start_s": pl.Float64,
    "other_end_s": pl.Float64,
}
SPAN = ["video_id", "start_s", "end_s"]
UNSURE = "unsure"  # a label that scores leave out
SAMPLE = ["filter", "run", "stratum", "stratum_size", *ITEMS, "label", "note"]
KINDS = dict.fromkeys(SAMPLE, pl.String) | ITEMS | {"stratum_size": pl.Int64}
REQUIRED = ("filter", "run", "stratum", "stratum_size", "item_id", "verdict")
TEXTS = ("text", "label", "note")  # an empty cell is an empty text, not a missing one


@dataclass(frozen=True)
class Question:
    """The question to a person about each item of a filter, and the possible answers (the filter's
    verdicts).
    """

    filter: str
    ask: str
    labels: tuple[str, ...]
    items: Callable[[str], pl.LazyFrame]

    @property
    def keys(self) -> dict[str, str]:
        """One key for each label: its first letter."""
        return {label[0]: label for label in (*self.labels, UNSURE)}

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """The classes that are scored, each with the labels that count as it: the first of two
        labels; of more each, and before them all but the last (*demonstration*).
        """
        if len(self.labels) == 2:
            return {self.labels[0]: self.labels[:1]}
        return {self.filter: self.labels[:-1]} | {label: (label,) for label in self.labels}


def question(name: str) -> Question:
    """The question of that filter; ValueError lists the known filters."""
    if name not in QUESTIONS:
        raise ValueError(f"unknown --filter {name!r}: use one of {', '.join(QUESTIONS)}")
    return QUESTIONS[name]


def _sentences(run: str) -> pl.LazyFrame:
    """Every sentence of 01, kept (yes), rejected (no) or undecided."""
    kept = pl.col("actionable")
    return _items(
        run,
        _scan(run, "01_curation", "narrations"),
        item_id=pl.col("narration_id"),
        verdict=pl.when(kept.is_null()).then(pl.lit("undecided"))
        .when(kept).then(pl.lit("yes")).otherwise(pl.lit("no")),
    )  # fmt: skip


def _windows(run: str) -> pl.LazyFrame:
    """Every window of 02 over words that teach: correct, incorrect or none."""
    shown, score = pl.col("demonstration").cast(pl.String), pl.col("score")
    return _items(
        run,
        _scan(run, "02_pairing", "judged").filter(pl.col("said") != "none"),
        item_id=pl.col("clip_id"),
        verdict=shown,
        confidence=pl.when(shown == "none").then(1 - score).otherwise(score),
    )


def _pairs(run: str) -> pl.LazyFrame:
    """Every two clips of 02 that were compared: copies (also under other words), or different."""
    spans = _scan(run, "02_pairing", "judged").select("clip_id", *SPAN, "text")
    other = spans.select(pl.all().name.prefix("other_"))
    links = _scan(run, "02_pairing", "links").join(spans, on="clip_id")
    alike, similarity = pl.col("verdict") != "different", pl.col("similarity")
    return _items(
        run,
        links.join(other, left_on="other_id", right_on="other_clip_id"),
        item_id=pl.concat_str("clip_id", "other_id", separator=" "),
        verdict=pl.when(alike).then(pl.lit("copy")).otherwise(pl.lit("different")),
        confidence=pl.when(alike).then(similarity).otherwise(1 - similarity),
        text=pl.concat_str("text", "other_text", separator=" / "),
    )


def _helps(run: str) -> pl.LazyFrame:
    """Every row of 04's supervision: a comment and what a coach says; helps, other, or undecided
    (masked).

    The first span is the learner's, by its take (a lesson's clip, where that stands for a learner),
    the other the clip's. The confidence is how far the similarity's share of the learner's best
    lies on the verdict's side.
    """
    clips, pairs = (_scan(run, "02_pairing", name).collect() for name in ("clips", "pairs"))
    texts = clip_texts(clips, pairs, _scan(run, "01_curation", "narrations").collect())
    said = pl.col("clip_id").replace_strict(texts, return_dtype=pl.String)
    coaches = clips.lazy().select("clip_id", "sport", *SPAN, text=said)
    lessons = coaches.rename({"clip_id": "learner_id", "text": "comment"})
    learners = _scan(run, "04_retrieval", "learners").with_columns(video_id="take_id")
    people = pl.concat([learners.select(lessons.collect_schema().names()), lessons])
    other = coaches.drop("sport").rename({name: f"other_{name}" for name in SPAN})
    names = ("supervision", "lesson_supervision", "supervision_masked")
    rows = pl.concat([_scan(run, "04_retrieval", name) for name in names])
    share = pl.col("similarity") / pl.col("similarity").max().over("learner_id")
    share, label = share.clip(0, 1).fill_nan(None), pl.col("label")
    return _items(
        run,
        rows.with_columns(share=share).join(people, on="learner_id").join(other, on="clip_id"),
        item_id=pl.concat_str("learner_id", "clip_id", separator=" "),
        verdict=pl.when(label > 0).then(pl.lit("helps")).when(label == 0).then(pl.lit("other"))
        .otherwise(pl.lit("undecided")),
        confidence=pl.when(label > 0).then("share").when(label == 0).then(1 - pl.col("share")),
        text=pl.concat_str("comment", "text", separator=" / "),
    )  # fmt: skip


def _scan(run: str, stage: str, name: str) -> pl.LazyFrame:
    """A table of a complete stage, its hash checked, not read yet."""
    return pl.scan_parquet(artifacts.open_stage(run, stage).path(f"{name}.parquet"))


def _items(run: str, frame: pl.LazyFrame, **columns: pl.Expr) -> pl.LazyFrame:
    """``ITEMS`` of the rows with these columns, the sport that of the video unless given; what is
    not there is null.
    """
    frame = frame.with_columns(**columns)
    if "sport" not in frame.collect_schema():
        frame = frame.join(
            _scan(run, "01_curation", "videos").select("video_id", "sport"), on="video_id"
        )
    there = frame.collect_schema()
    missing = {name: pl.lit(None) for name in ITEMS if name not in there}
    return frame.with_columns(**missing).select(*ITEMS).cast(pl.Schema(ITEMS))


QUESTIONS = {
    "actionability": Question(
        "actionability",
        (
            "Does the sentence tell how to do something with body or equipment, or what goes wrong "
            "in doing it?"
        ),
        ("yes", "no"),
        _sentences,
    ),
    "demonstration": Question(
        "demonstration",
        (
            "Do the pictures show what the sentence is about, done right (correct), done wrong "
            "(incorrect), or not (none)?"
        ),
        ("correct", "incorrect", "none"),
        _windows,
    ),
    "duplicates": Question(
        "duplicates",
        (
            "Are both strips the same recording (mirrored, recoloured or cut elsewhere counts as "
            "the same)?"
        ),
        ("copy", "different"),
        _pairs,
    ),
    "supervision": Question(
        "supervision",
        "The first strip shows a learner, the first sentence is what an expert said of it. "
        "Would the second clip, with "
        "what its coach says, help this learner with that mistake (helps), or is it about "
        "something else (other)?",
        ("helps", "other"),
        _helps,
    ),
}


# ---------------------------------------------------------------------------------------- the sheet


@dataclass(frozen=True)
class Sheet:
    """A gold sample: ``frame`` has the columns ``SAMPLE``; label is "" until somebody labels it."""

    filter: str
    run: str
    frame: pl.DataFrame

    @property
    def question(self) -> Question:
        """What is asked of each row."""
        return question(self.filter)

    @property
    def answers(self) -> pl.DataFrame:
        """The rows that somebody labelled and was sure of."""
        return self.frame.filter(~pl.col("label").is_in(["", UNSURE]))

    def labelled(self, item_id: str, label: str, note: str | None = None) -> Sheet:
        """The same with one label set (removed, with ""), and its note, if one is given;
        ValueError for a label that the filter does not have.
        """
        known = (*self.question.labels, UNSURE)
        if label not in ("", *known):
            raise ValueError(f"unknown label {label!r} for {self.filter}: use {', '.join(known)}")
        if item_id not in self.frame["item_id"]:
            raise ValueError(f"unknown item {item_id!r}: the sample is of run {self.run!r}")
        mine = pl.when(pl.col("item_id") == item_id)
        frame = self.frame.with_columns(
            label=mine.then(pl.lit(label)).otherwise("label"),
            note=mine.then(pl.lit(note)).otherwise(None).fill_null(pl.col("note")),
        )
        return replace(self, frame=frame)

    def warnings(self) -> list[str]:
        """Items that the run on disk does not have, and verdicts that it does not give; a sentence
        each.

        Either the run was made again since the sample, or somebody edited or moved cells.
        """
        items = self.question.items(self.run).select("item_id", today="verdict")
        wanted = self.frame.lazy().select("item_id", "verdict")
        both = wanted.join(items, on="item_id", how="left", maintain_order="left").collect()
        cases = {
            "unknown to": both.filter(pl.col("today").is_null()),
            "with another verdict in": both.filter(pl.col("today") != pl.col("verdict")),
        }
        return [
            f"{rows.height} of {both.height} items are {words} run {self.run!r}, first "
            f"{rows['item_id'][0]}: the run was made again, or cells were edited or moved"
            for words, rows in cases.items()
            if rows.height
        ]


# ------------------------------------------------------------------------------------------ drawing


class NothingDrawn(ValueError):
    """The filter decided nothing in this run."""


def draw(run: str, filter_: str, *, n: int, seed: int) -> Sheet:
    """``n`` items of the filter (all, if there are fewer), in an order that does not depend on the
    verdict. NothingDrawn where the filter decided nothing in this run.
    """
    drawn = stratified(question(filter_).items(run), n=n, seed=seed)
    if drawn.is_empty():
        raise NothingDrawn(
            f"run {run!r} has no item that the filter {filter_!r} decided: nothing to sample"
        )
    drawn = drawn.with_columns(
        filter=pl.lit(filter_), run=pl.lit(run), label=pl.lit(""), note=pl.lit("")
    )
    return Sheet(filter_, run, drawn.select(SAMPLE))


def stratified(items: pl.LazyFrame, *, n: int, seed: int) -> pl.DataFrame:
    """``n`` of the items with ``stratum`` and ``stratum_size``, in random order; polars streams the
    items, so that a run may have millions.
    """
    if n < 1:
        raise ValueError(f"--n must be at least 1, got {n}")
    key = ["verdict", "sport"]
    sizes = items.group_by(key).len("size").collect(engine="streaming")
    first = (
        items.with_columns(order=pl.col("item_id").hash(seed))
        .sort("order", "item_id")
        .group_by(key, maintain_order=True)
        .head(n)
        .collect(engine="streaming")
    )
    # one item of each verdict in turn, then one of each stratum in turn: even as far as there are
    turn = first.sort(_place("verdict"), "verdict").head(n)
    shares = sizes.join(turn.group_by("verdict").agg(share=pl.len()), on="verdict")
    name = pl.concat_str("verdict", pl.col("sport").fill_null("no sport"), separator=", ")
    fits = pl.len().over("verdict") <= pl.col("share")  # else the verdict is one stratum
    strata = shares.with_columns(stratum=pl.when(fits).then(name).otherwise("verdict"))
    size = pl.col("size").sum().over("stratum").cast(pl.Int64)
    turn = (
        first.join(strata.with_columns(stratum_size=size), on=key, nulls_equal=True)
        .sort("order", "item_id")
        .sort(_place("stratum"), "stratum")
    )
    return turn.filter(_place("verdict") < pl.col("share")).sort("order", "item_id")


def _place(group: str) -> pl.Expr:
    return pl.int_range(pl.len()).over(group)


# ------------------------------------------------------------------------------------------ the CSV


def write(path: Path, sheet: Sheet) -> None:
    """Replace ``path`` by the sheet."""
    cells = sheet.frame.select(SAMPLE).with_columns(guard_cells(pl.col(pl.String)))
    content = cells.write_csv(quote_style="always", line_terminator="\r\n")
    # the byte order mark shows spreadsheets the encoding
    write_whole(path, content.encode("utf-8-sig"))


def read(path: Path) -> Sheet:
    """The sheet, also after a spreadsheet saved it; ValueError names the row (as a spreadsheet
    shows it), the column and what is wrong.
    """
    if not path.is_file():
        raise ValueError(
            f"there is no file {short_path(path)}: `sportskills audit sample` makes one"
        )
    table = read_delimited(path)
    if missing := [name for name in SAMPLE if name not in table.columns]:
        raise ValueError(
            f"{path} has no column {missing[0]}: put the column back, or draw the sample again "
            "(the same seed draws the same items)"
        )
    cells = table.select(pl.col(SAMPLE).str.strip_prefix("'")).with_row_index("row", offset=2)
    cells = cells.filter(pl.any_horizontal(pl.col(SAMPLE) != ""))
    frame = cells.select(_column(path, cells, name) for name in SAMPLE)
    for name in ("filter", "run"):
        if frame[name].n_unique() != 1:
            raise ValueError(
                f"{path} has {frame[name].n_unique()} values of {name}: score each sample alone"
            )
    if (twice := frame.filter(pl.col("item_id").is_duplicated())).height:
        raise ValueError(f"{path} lists item {twice['item_id'][0]} twice: remove one of the rows")
    sheet = Sheet(frame["filter"][0], frame["run"][0], frame)
    names = {name: name for name in ("", *sheet.question.labels, UNSURE)} | sheet.question.keys
    label = pl.col("label").str.to_lowercase().replace_strict(names, default=None)
    known = frame.with_columns(label)
    for row in cells.filter(known["label"].is_null()).iter_rows(named=True):
        raise ValueError(
            f"{path}, row {row['row']}, column label: unknown label {row['label']!r} of item "
            f"{row['item_id']}: use {', '.join(filter(None, names))}"
        )
    return replace(sheet, frame=known)


def _column(path: Path, cells: pl.DataFrame, name: str) -> pl.Series:
    """A column of the sheet in its type, null where it may be empty and is; ValueError for a cell
    that is neither.
    """
    kind, text = KINDS[name], cells[name]
    if kind == pl.String:
        values = text if name in TEXTS else text.replace("", None)
    else:
        least = 1 if name == "stratum_size" else 0
        figures = text.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
        valid = figures.is_finite() & (figures >= least)
        values = figures.set(~valid, None).cast(kind, strict=False)
    wrong = values.is_null() if name in REQUIRED else values.is_null() & (text != "")
    for line, cell in cells.filter(wrong).select("row", name).rows():
        raise ValueError(
            f"{path}, row {line}, column {name}: {cell[:40]!r} is not a valid value: restore what "
            "was there"
        )
    return values
