"""One look for every figure: sizes that fit a paper's column or page, and colours that colour-blind
readers tell apart.

Start every figure with :func:`figure`; matplotlib is imported there, not when this module is.
Colours are those of Okabe and Ito (2008), which stay apart in all common forms of colour blindness;
arms differ in lightness and hatch too, so that a black-and-white print can be read.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sportskills_lib.runs.artifacts import Stage

COLUMN_IN, PAGE_IN = 3.4, 7.0  # widths of a column and of a page in a two-column paper
# What every figure is saved as: a picture, and vectors for pages and for LaTeX.
SUFFIXES = ("png", "svg", "pdf")

BLACK, GREY = "#000000", "#8C8C8C"
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
CYCLE = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, GREY, BLACK)

MAKER = "SportSkills"

# What each training arm, and the kept / dropped bars of a funnel, look like in every figure.
ARM_COLOURS = {
    "zero_shot": "#BDBDBD",
    "activity_dataset": VERMILION,
    "activity_sport": YELLOW,
    "activity_skill": ORANGE,
    "narrations_shuffled": PURPLE,
    "narrations": BLUE,
    "both": GREEN,
}
ARM_HATCHES = {"narrations_shuffled": "////", "activity_dataset": "...."}
OTHER_ARMS = (SKY, "#5D4037", "#404040")  # for arms of other names, by place
KEPT, DROPPED = BLUE, "#BDBDBD"

RC: dict[str, Any] = {
    "figure.dpi": 120,
    "savefig.dpi": 300,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.03,
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "hatch.linewidth": 0.5,
    "text.parse_math": False,  # a title may hold a $
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "sportskills",  # the same figure gives the same file
    "pdf.fonttype": 42,
}


def arm_look(arm: str, others: Sequence[str] = ()) -> dict[str, Any]:
    """Colour and hatch of an arm's bars; an arm of another name takes its place among
    ``others``.
    """
    place = list(others).index(arm) if arm in others else 0
    colour = ARM_COLOURS.get(arm, OTHER_ARMS[place % len(OTHER_ARMS)])
    return {"color": colour, "hatch": ARM_HATCHES.get(arm, "" if arm in ARM_COLOURS else "xxxx")}


def lighter(colour: str, share: float = 0.55) -> str:
    """The colour mixed with ``share`` of white."""
    parts = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(part + (255 - part) * share):02X}" for part in parts)


def figure(
    width_in: float = COLUMN_IN, height_in: float = 2.2, **subplots: Any
) -> tuple[Figure, Any]:
    """A figure and its axes (as ``plt.subplots`` would give) in the house style, tied to no window
    and no global state.

    A title or label that strangers wrote must go through :func:`plain`.
    """
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.figure import Figure as NewFigure

    parameters: Any = mpl.rcParams  # set for good: saving happens later, outside any context
    parameters.update(RC | {"axes.prop_cycle": cycler(color=CYCLE)})

    class HouseFigure(NewFigure):
        def _repr_png_(self) -> bytes:
            """What a notebook shows, whether or not pyplot was imported."""
            file = io.BytesIO()
            self.savefig(file, format="png", dpi=150)
            return file.getvalue()

    made = HouseFigure(figsize=(width_in, height_in), layout="constrained")
    return made, made.subplots(**subplots)


def save_figure(stage: Stage, name: str, figure: Figure) -> None:
    """Write ``figures/<name>`` as PNG, SVG and PDF, each with the stage's facts in its metadata."""
    for suffix in SUFFIXES:
        save(figure, stage.path(f"figures/{name}.{suffix}"), stage.facts)


def save(figure: Figure, path: Path, facts: Mapping[str, str] | None = None) -> Path:
    """Write the figure as its suffix says (one of SUFFIXES), with ``facts`` in its metadata;
    returns the path.

    ``facts`` (run, stage, commit, config) stand as one JSON object where every reader of metadata
    finds them: PNG text
    ``Description`` (and a text for each fact), SVG ``dc:description``, PDF ``Subject``. No date is
    kept, so that the same figure and facts give the same bytes. The fact ``data`` (a generated
    world) is printed below the figure too: pictures travel without their captions.
    """
    known, suffix = dict(facts or {}), path.suffix.lower()
    description = json.dumps(known, sort_keys=True)
    metadata: dict[str, dict[str, Any]] = {
        ".png": {"Software": MAKER, "Description": description}
        | {name.capitalize(): text for name, text in known.items()},
        ".svg": {"Creator": MAKER, "Description": description, "Date": None},
        ".pdf": {"Creator": MAKER, "Subject": description, "CreationDate": None},
    }
    if suffix not in metadata:
        raise ValueError(f"{path.name}: a figure is saved as {', '.join(SUFFIXES)}")
    if known.get("data") and not any(text.get_gid() == "data" for text in figure.texts):
        inside = 1 - 0.042 / figure.get_size_inches()[0]  # where the layout's margin begins
        look: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": 5, "color": GREY}
        figure.text(inside, 0, plain(known["data"]), gid="data", **look)
    figure.savefig(path, metadata={"Title": path.stem} | metadata[suffix])
    return path


def data_url(content: bytes, kind: str) -> str:
    """The file as an address that holds it; ``kind``: its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def told_apart(names: Sequence[str], *, limit: int = 24) -> list[str]:
    """Names of runs in at most ``limit`` characters, as different as they are.

    Where one is longer, what all begin with gives way to "…", then the middle of what is left.
    """
    shown = [plain(name, limit=10_000) for name in names]
    if len(set(shown)) > 1 and max(map(len, shown)) > limit:
        same = [len(set(letters)) == 1 for letters in zip(*shown, strict=False)]
        common = [*same, False].index(False)
        word = max(shown[0].rfind(sign, 0, common) for sign in " .-_/") + 1
        cut = word if common - word < limit // 2 else common
        shown = ["…" * (cut > 0) + name[cut:] for name in shown]
    half = limit // 2
    return [
        name if len(name) <= limit else f"{name[:half]}…{name[half + 1 - limit :]}"
        for name in shown
    ]


def plain(text: str, *, limit: int = 200) -> str:
    """Text that matplotlib can draw as it stands: no control characters, at most ``limit``
    characters.
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
