"""The plan of every lesson video: who says what over which picture, when.

A lesson teaches one skill on one channel: nine demonstrations (each of the three cues over a correct performance, each of
the three faults shown twice and named) in random order, between a greeting, a sponsor's message, b-roll and a goodbye.
Many hold traps: a cue said over a talking coach, or a skilled performance under idle words, so that neither the words nor
the pictures alone tell a demonstration. Everything else (lengths, looks, order, ids, titles) is drawn without looking at
skill or fault. Around the lessons stand re-uploads, videos that teach nothing and broken files.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from sportskills_lib.demo import phrases
from sportskills_lib.demo.settings import (
    TEST_FRACTION,
    VAL_FRACTION,
    DemoConfig,
    draw_frames,
    generator,
)
from sportskills_lib.demo.skills import SPORTS, DemoSport, Fault, Skill
from sportskills_lib.group_splits import assign_splits

REUPLOAD_SHARE, OTHER_SHARE = 0.02, 0.05  # copies, and videos that teach nothing, of the lessons
ID_LETTERS = string.ascii_letters + string.digits + "-_"
CONNECTING_WORDS = ("tutorial", "drills", "tips", "for beginners", "technique", "lesson", "basics")
DEFECTS = (
    "truncated",
    "empty",
    "text",
    "no_info",
    "no_captions",
    "impossible_times",
    "foreign_language",
)
TOPICS = (
    "sourdough bread",
    "bicycle chain",
    "watercolour sky",
    "phone screen",
    "tomato plants",
    "guitar strings",
)
TITLES = (  # they name sport and skill, as uploads do, and no fault
    "{0}: the {1} explained", "How to {1}, step by step", "{1} basics for everyone", "My best {1} advice",
    "{0} lesson: {1}", "Learn the {1} in minutes", "Fix your {1} today", "{1} masterclass ({0})",
)  # fmt: skip
FOREIGN_SENTENCES = (  # instruction, but about no sport
    "Wipe it gently with a soft cloth and let the {0} rest.", "Take your time with the {0} and never rush the middle.",
    "Cut the tape first, then turn the {0} over.", "Add a little water before you go on with the {0}.",
    "Press the edges of the {0} down until they hold.",
)  # fmt: skip
OTHER_TITLES = (
    "my story",
    "a day in my life",
    "unboxing the new gear",
    "road trip vlog",
    "q and a",
)
FIRST_NAMES = "Mara Theo Ines Jonas Aiko Pavel Lina Omar Greta Silas Noor Felix Anya Hugo Zoe Kofi Ruth Emil".split()  # noqa: SIM905
LAST_NAMES = "Linden Okoye Brandt Castell Moreau Iwata Novak Silva Hale Petrov Quist Ferro Adler Tanaka".split()  # noqa: SIM905


@dataclass(frozen=True)
class Channel:
    """Somebody who uploads lessons of one sport. ``style``: 0 … 8, whose phrasings it uses.
    ``split``: where 02_pairing's public rule puts it.
    """

    channel_id: str
    name: str
    style: int
    split: str = "train"


@dataclass(frozen=True)
class DemoSegment:
    """One shot: what is to be seen (``picture``, ``execution``) and what is said meanwhile, if
    anything.
    """

    kind: str  # talk, sponsor, broll, outro, demonstration, trap_words, trap_pictures
    picture: str  # talk, sponsor, broll, outro or demonstration
    frames: int
    text: str = ""
    execution: str | None = None  # correct, or a fault's name; None: no skill is to be seen
    cue: str | None = None  # the fault that the words speak of
    demonstration: str = "none"  # correct, incorrect, none: shown and taught
    actionable: bool | None = False  # None: instruction, but none about the sport
    start_s: float = 0.0
    said_start_s: float | None = None
    said_end_s: float | None = None

    def end_s(self, fps: int) -> float:
        """When the shot ends, in picture time."""
        return round(self.start_s + self.frames / fps, 3)


@dataclass(frozen=True)
class DemoLesson:
    """One video to be made, with its captions and info."""

    video_id: str
    kind: str  # lesson, reupload, noninstructional, foreign, broken
    channel: Channel
    sport: str
    skill: str
    title: str
    search_term: str
    segments: tuple[DemoSegment, ...]
    form: str  # manual, automatic
    crf: int
    upload_date: str
    view_count: int
    dissolve: int = 0  # frames over which one shot fades into the next; 0: hard cuts
    duplicate_of: str | None = None  # whose pictures a re-upload shows
    mirrored: bool = False
    brightness: float = 1.0
    scale_px: int | None = None  # the side that a re-upload was scaled to and back
    defect: str | None = None

    def duration_s(self, fps: int) -> float:
        """The video's length."""
        return sum(segment.frames for segment in self.segments) / fps


def random_id(rng: np.random.Generator, length: int = 11) -> str:
    """Letters that tell nothing; the first is no dash."""
    return ID_LETTERS[rng.integers(62)] + "".join(
        ID_LETTERS[i] for i in rng.integers(64, size=length - 1)
    )


def split_rank(channel_id: str) -> str:
    """Channels are dealt to splits in the order of this digest (02_pairing's documented rule)."""
    return hashlib.sha256(channel_id.encode()).hexdigest()


def sport_channels(sport: DemoSport, config: DemoConfig) -> tuple[Channel, ...]:
    """The sport's channels in the order of :func:`split_rank`, styles 0, 1, 2 … in that order.

    So the phrasings of one style stand in one split only, whatever the sport: test queries are phrased as no training
    narration is.
    """
    rng = generator(config.seed, "channels", sport.name)
    ids = sorted((f"UC{random_id(rng, 22)}" for _ in range(config.channels)), key=split_rank)
    patterns = ("{0} {1}", "{0} {1} {2}", "{2} with {0}", "Coach {1}", "The {1} {2} Academy")
    names = []
    for _ in ids:
        first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
        names.append(str(rng.choice(patterns)).format(first, last, sport.name.title()))
    table = pl.DataFrame({"channel": ids}).with_columns(sport=pl.lit(sport.name))
    splits, _ = assign_splits(table, test_fraction=TEST_FRACTION, val_fraction=VAL_FRACTION)
    named = zip(ids, names, strict=True)
    return tuple(Channel(*each, style, splits[each[0]]) for style, each in enumerate(named))


def stray_channel(name: str, style: int, config: DemoConfig) -> Channel:
    """A channel with no lessons of its own. Its id stands last in the order of splits, so that
    it displaces none.
    """
    rng = generator(config.seed, "stray", name)
    best = max((f"UC{random_id(rng, 22)}" for _ in range(400)), key=split_rank)
    return Channel(best, f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}", style)


# ------------------------------------------------------------------------------------------------------ segments


def _demonstration(
    skill: Skill,
    fault: Fault,
    channel: Channel,
    config: DemoConfig,
    rng: np.random.Generator,
    *,
    correct: bool,
) -> DemoSegment:
    """The cue against ``fault`` over a correct performance, or the fault shown and named."""
    frames = draw_frames(rng, config)
    said = channel.style, channel.split
    text = phrases.lesson_sentence(skill, fault, *said, rng, correct=correct)
    return DemoSegment(
        "demonstration", "demonstration", frames, text,
        execution="correct" if correct else fault.name, cue=fault.name,
        demonstration="correct" if correct else "incorrect", actionable=True,
    )  # fmt: skip


def _idle(kind: str, config: DemoConfig, rng: np.random.Generator) -> DemoSegment:
    """A shot that shows no skill; b-roll is often silent."""
    is_silent = kind == "broll" and rng.random() < 0.6
    text = "" if is_silent else phrases.pick(phrases.IDLE[kind], rng)
    return DemoSegment(kind, kind, draw_frames(rng, config), text)


def _teaching(
    skill: Skill, channel: Channel, config: DemoConfig, rng: np.random.Generator
) -> list[DemoSegment]:
    shots = [
        _demonstration(skill, fault, channel, config, rng, correct=correct)
        for fault in skill.faults
        for correct in (True, False, False)
    ]
    return [shots[i] for i in rng.permutation(len(shots))]


def _trap_words(
    skill: Skill, channel: Channel, config: DemoConfig, rng: np.random.Generator
) -> DemoSegment:
    """Advice, said by a coach who only talks, or over a view that moves, or over a card."""
    fault = phrases.pick(skill.faults, rng)
    said = _demonstration(skill, fault, channel, config, rng, correct=rng.random() < 0.5)
    picture = str(rng.choice(["talk", "broll", "sponsor"], p=[0.6, 0.3, 0.1]))
    return replace(said, kind="trap_words", picture=picture, execution=None, demonstration="none")


def _trap_pictures(skill: Skill, config: DemoConfig, rng: np.random.Generator) -> DemoSegment:
    """A performance, while the words are about something else."""
    text = phrases.pick(phrases.IDLE[str(rng.choice(["talk", "broll"]))], rng)
    execution = str(rng.choice(skill.executions))
    return DemoSegment("trap_pictures", "demonstration", draw_frames(rng, config), text, execution)


def _timed(
    shots: list[DemoSegment], form: str, config: DemoConfig, rng: np.random.Generator
) -> tuple[DemoSegment, ...]:
    """Put the shots after each other, and the words over them: with a lag that is the whole lesson's own, plus jitter.

    Automatic captions lag by up to 0.8 s, earlier or later, manual ones hardly. A pause of about half a second parts two
    sentences. How long a sentence takes depends on its shot's length, not on its words.
    """
    lag_s = (
        float(rng.uniform(0, 0.8) * rng.choice([-1, 1]))
        if form == "automatic"
        else float(rng.uniform(-0.1, 0.1))
    )
    duration_s = sum(shot.frames for shot in shots) / config.fps
    timed, frame, free_s = [], 0, 0.05
    for shot in shots:
        start_s, end_s = frame / config.fps, frame / config.fps + shot.frames / config.fps
        frame += shot.frames
        lead_s, tail_s = rng.uniform(0.15, 0.3), rng.uniform(0.3, 0.45)
        jitter_s = rng.normal(0, 0.05)
        if shot.text:
            first = max(free_s, start_s + lead_s + lag_s + jitter_s)
            last = max(end_s - tail_s + lag_s + jitter_s, first + 1.2)
            last = min(duration_s - 0.05, last)
            shot = replace(
                shot, said_start_s=round(min(first, last - 0.8), 3), said_end_s=round(last, 3)
            )
            free_s = last + 0.35
        timed.append(replace(shot, start_s=round(start_s, 3)))
    return tuple(timed)


# ------------------------------------------------------------------------------------------------------- lessons


def _video(
    name: str,
    kind: str,
    channel: Channel,
    skill: Skill,
    shots: list[DemoSegment],
    config: DemoConfig,
    **more: object,
) -> DemoLesson:
    """A video around its shots; id, form, quality, date, views and title are drawn by ``name``
    alone.
    """
    rng = generator(config.seed, "video", kind, name)
    form = str(rng.choice(["manual", "automatic"]))
    video_id = random_id(rng)
    timed = _timed(shots, form, config, rng)
    title = str(rng.choice(TITLES)).format(skill.sport.title(), skill.name)
    term = f"{skill.sport} {skill.name} {rng.choice(CONNECTING_WORDS)}".lower()
    date = f"20{rng.integers(19, 26)}{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}"
    dissolve = int(rng.choice([0, 2, 3], p=[0.75, 0.15, 0.1]))
    lesson = DemoLesson(
        video_id, kind, channel, skill.sport, skill.name, title, term, timed, form, int(rng.integers(26, 31)), date,
        int(10 ** rng.uniform(2, 6)), dissolve,
    )  # fmt: skip
    return replace(lesson, **more)  # type: ignore[arg-type]


def plan_lesson(channel: Channel, skill: Skill, config: DemoConfig) -> DemoLesson:
    """The channel's lesson about the skill: nine demonstrations and what stands around them."""
    name = f"{channel.channel_id}/{skill.name}"
    rng = generator(config.seed, "shots", name)
    shots = _teaching(skill, channel, config, rng)
    extras = [_idle(kind, config, rng) for kind in ("sponsor", "broll") if rng.random() < 0.4]
    if rng.random() < 0.45:
        extras.append(_trap_words(skill, channel, config, rng))
    if rng.random() < 0.4:
        extras.append(_trap_pictures(skill, config, rng))
    for extra in extras:
        shots.insert(int(rng.integers(len(shots) + 1)), extra)
    opening = _idle("talk" if rng.random() < 0.8 else "broll", config, rng)
    closing = _idle("outro" if rng.random() < 0.8 else "broll", config, rng)
    return _video(name, "lesson", channel, skill, [opening, *shots, closing], config)


def _reupload(original: DemoLesson, number: int, config: DemoConfig) -> DemoLesson:
    """The same pictures and words on another channel: re-encoded, perhaps brighter, darker, mirrored or scaled.

    All copies of a sport stand on one channel: more would change how many of its channels go to each split.
    """
    rng = generator(config.seed, "reupload", number)
    channel = stray_channel(f"reupload/{original.sport}", original.channel.style, config)
    skill = find_skill(original.sport, original.skill)
    copy = _video(
        f"{number}", "reupload", channel, skill, list(original.segments), config,
        dissolve=original.dissolve, duplicate_of=original.video_id, crf=int(rng.integers(31, 34)),
        mirrored=bool(rng.random() < 0.25), brightness=float(rng.choice([1.0, 0.85, 1.15])),
        scale_px=int(config.size_px * 0.75) if rng.random() < 0.4 else None,
    )  # fmt: skip
    return replace(copy, upload_date=f"2026{copy.upload_date[4:]}")


def _other(number: int, sport: DemoSport, channel: Channel, config: DemoConfig) -> DemoLesson:
    """A story, a vlog, an unboxing, or a lesson about something that is no sport, found by the
    same search terms.
    """
    rng = generator(config.seed, "other", number)
    skill = sport.skills[rng.integers(min(config.skills, len(sport.skills)))]
    shots = [
        _idle(str(rng.choice(["talk", "broll"])), config, rng) for _ in range(rng.integers(3, 6))
    ]
    topic = str(rng.choice(TOPICS))
    if number % 2:
        shots = [
            replace(shot, text=str(rng.choice(FOREIGN_SENTENCES)).format(topic), actionable=None)
            for shot in shots
        ]
        channel, title = stray_channel(f"foreign/{number}", 8, config), f"All about {topic}"
        return _video(f"{number}", "foreign", channel, skill, shots, config, title=title)
    if rng.random() < 0.5:
        shots.insert(1, _trap_pictures(skill, config, rng))
    title = f"{sport.name.title()}: {rng.choice(OTHER_TITLES)}"
    return _video(f"{number}", "noninstructional", channel, skill, shots, config, title=title)


def _broken(
    defect: str, number: int, sport: DemoSport, channel: Channel, config: DemoConfig
) -> DemoLesson:
    """A short lesson whose files are damaged in one way (see ``DEFECTS``)."""
    rng = generator(config.seed, "broken", defect, number)
    skill = sport.skills[rng.integers(min(config.skills, len(sport.skills)))]
    shots = [
        _idle("talk", config, rng),
        *_teaching(skill, channel, config, rng)[:3],
        _idle("outro", config, rng),
    ]
    lesson = _video(f"{defect}/{number}", "broken", channel, skill, shots, config, defect=defect)
    return replace(lesson, form="manual") if defect == "impossible_times" else lesson


def find_skill(sport: str, name: str) -> Skill:
    """The skill of that sport and name; StopIteration when there is none."""
    return next(
        skill for one in SPORTS if one.name == sport for skill in one.skills if skill.name == name
    )


def plan_videos(config: DemoConfig) -> Iterator[DemoLesson]:
    """Every video of the world: lessons, then re-uploads, then what teaches nothing, then broken
    files.
    """
    sports = SPORTS[: config.sports]
    channels = {sport.name: sport_channels(sport, config) for sport in sports}
    lessons = [
        plan_lesson(channel, skill, config)
        for sport in sports
        for channel in channels[sport.name]
        for skill in sport.skills[: config.skills]
    ]
    yield from lessons
    rng = generator(config.seed, "selection")
    copies = max(1, round(REUPLOAD_SHARE * len(lessons)))
    for number, index in enumerate(sorted(rng.permutation(len(lessons))[:copies])):
        yield _reupload(lessons[index], number, config)
    for number in range(max(2, round(OTHER_SHARE * len(lessons)))):
        sport = sports[number % len(sports)]
        channel = channels[sport.name][rng.integers(config.channels)]
        yield _other(number, sport, channel, config)
    for number, defect in enumerate(DEFECTS):
        sport = sports[number % len(sports)]
        channel = channels[sport.name][rng.integers(config.channels)]
        yield _broken(defect, number, sport, channel, config)
