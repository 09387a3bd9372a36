"""``sportskills taxonomy …`` and ``sportskills fetch``: thin commands over this package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sportskills_lib.curation.fetch.fetcher import FetchItem
    from sportskills_lib.curation.taxonomy import SearchTerm

taxonomy_app = typer.Typer(
    help="The sports and skills that are searched for.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
TaxonomyFile = Annotated[
    Path | None, typer.Option("--taxonomy", help="Your own file; default: the shipped one.")
]
Sports = Annotated[
    list[str] | None, typer.Option("--sport", help="Only this sport; can be repeated.")
]


@taxonomy_app.command(epilog="Example: sportskills taxonomy show --sport judo")
def show(taxonomy: TaxonomyFile = None, sport: Sports = None) -> None:
    """Check the file and count skills, spellings and searches of each sport."""
    from sportskills_lib.curation.taxonomy import counts_by_sport, read_taxonomy

    rows = counts_by_sport(read_taxonomy(taxonomy).select_sports(sport or []))
    _, *columns = zip(*rows, strict=True)
    total = (f"{len(rows)} sports", *map(sum, columns))
    for row in [("sport", "skills", "spellings", "searches"), *rows, total]:
        typer.echo("{:<22} {:>7} {:>10} {:>9}".format(*row))


@taxonomy_app.command(
    epilog="Example: sportskills taxonomy terms --sport judo --no-synonyms > terms.txt"
)
def terms(
    taxonomy: TaxonomyFile = None,
    sport: Sports = None,
    synonyms: Annotated[
        bool, typer.Option(help="Search for other spellings of skills, too.")
    ] = True,
) -> None:
    """Print the searches, each once: term, sport and skill, with tabs between them."""
    from sportskills_lib.curation.taxonomy import read_taxonomy, search_terms

    for each in search_terms(read_taxonomy(taxonomy).select_sports(sport or []), synonyms=synonyms):
        typer.echo(f"{each.term}\t{each.sport}\t{each.skill}")


def fetch(
    items: Annotated[
        list[str] | None, typer.Argument(help="YouTube ids or addresses of videos.")
    ] = None,
    to: Annotated[Path, typer.Option(help="Target folder, the source that 01 reads.")] = Path(
        "data/raw/fetched"
    ),
    from_file: Annotated[
        Path | None,
        typer.Option(help="Ids or addresses, one a line; tabs may follow: sport, skill."),
    ] = None,
    sport: Sports = None,
    skill: Annotated[
        str, typer.Option(help="The skill that the items teach, or the only one to search for.")
    ] = "",
    term: Annotated[
        list[str] | None, typer.Option(help="Search for this term; can be repeated.")
    ] = None,
    search: Annotated[
        bool, typer.Option("--search", help="Search for the taxonomy's terms of --sport.")
    ] = False,
    taxonomy: TaxonomyFile = None,
    terms: Annotated[int, typer.Option(min=1, help="Maximum number of searches.")] = 20,
    each: Annotated[int, typer.Option(min=1, help="Maximum number of videos per search.")] = 10,
    retry: Annotated[
        bool, typer.Option("--retry", help="Retry items that failed for a temporary reason.")
    ] = False,
    language: Annotated[str, typer.Option(help="Language of captions.")] = "en",
    height_px: Annotated[
        int, typer.Option(min=64, help="Largest height of a file, in pixels.")
    ] = 480,
    max_duration_s: Annotated[
        float, typer.Option(min=1, help="A longer video is not fetched.")
    ] = 1800.0,
    min_actionable: Annotated[
        int, typer.Option(min=0, help="Minimum number of instructional sentences per video.")
    ] = 3,
    sleep_s: Annotated[
        float, typer.Option(min=0, help="Minimum pause before each file, in seconds.")
    ] = 5.0,
    sleep_requests_s: Annotated[
        float, typer.Option(min=0, help="Pause before each request for metadata.")
    ] = 1.0,
    sleep_subtitles_s: Annotated[float, typer.Option(min=0, help="Pause before captions.")] = 15.0,
    rate_bytes_s: Annotated[
        float, typer.Option(min=0, help="Maximum bytes per second; 0: no limit.")
    ] = 2e6,
    timeout_s: Annotated[
        float, typer.Option(min=0.1, help="Seconds without data after which a request times out.")
    ] = 30.0,
    attempts: Annotated[
        int, typer.Option(min=1, help="Attempts per item, with growing pauses.")
    ] = 4,
    back_off_s: Annotated[
        float, typer.Option(min=0, help="Pause before the second attempt, in seconds.")
    ] = 10.0,
    cookies: Annotated[
        Path | None, typer.Option(help="Cookies in Netscape's format, for yt-dlp.")
    ] = None,
    cookies_from_browser: Annotated[
        str, typer.Option(help="A browser whose cookies yt-dlp reads.")
    ] = "",
    archive: Annotated[
        Path | None, typer.Option(help="yt-dlp archive file: videos listed in it are skipped.")
    ] = None,
    extractor: Annotated[
        list[str] | None, typer.Option(help="yt-dlp extractors that may be used, for other sites.")
    ] = None,
) -> None:
    """Fetch lessons: captions first, then the video where they teach; the same command goes on
    after a kill.
    """
    from sportskills_lib.curation.fetch import fetcher
    from sportskills_lib.curation.fetch.fetch_ledger import FetchLedger
    from sportskills_lib.curation.fetch.youtube import Asker, FetchSettings
    from sportskills_lib.runs.errors import RunError

    given = locals()
    settings = FetchSettings(
        **{name: given[name] for name in FetchSettings.__dataclass_fields__ if name in given},
        extractors=tuple(extractor or ("default",)),
    )
    named = _items_of(items or [], from_file, sport or [], skill, elsewhere=bool(extractor))
    searches = _searches(taxonomy, sport or [], skill, term or [], terms if search else 0)
    if not named and not searches:
        raise ValueError(
            "nothing to fetch: name ids or addresses, --from-file, --term, or --search with --sport"
        )
    store = FetchLedger(to)
    with store.opened(), Asker(settings, store.work) as asker:
        found, lost = fetcher.searched_items(searches, store, asker, each=each)
        for name, why in lost.items():
            typer.echo(f"search {name!r} failed: {why}", err=True)
        wanted = {item.name: item for item in (*named, *found)}
        table = fetcher.fetch(list(wanted.values()), store, asker, retry=retry, report=typer.echo)
    counts = table.group_by("status").len().sort("len", "status", descending=[True, False]).rows()
    typer.echo(f"{to}: " + ", ".join(f"{status} {number}" for status, number in counts))
    if lost:
        raise RunError(
            f"{len(lost)} of {len(searches)} searches ({next(iter(lost.values()))}): run the "
            "same command again, which "
            "asks only those"
        )


def _items_of(
    items: list[str], from_file: Path | None, sports: list[str], skill: str, *, elsewhere: bool
) -> list[FetchItem]:
    """Items of the command line and of a file of lines: id or address, and perhaps sport and skill
    after tabs.

    ValueError for an address outside YouTube, unless ``elsewhere``: sites that nobody named are not
    asked.
    """
    from sportskills_lib.curation.fetch.fetcher import named_item
    from sportskills_lib.curation.fetch.youtube import WATCH
    from sportskills_lib.formats.files import decode_bytes

    sport = sports[0] if len(sports) == 1 else None
    if from_file and not from_file.is_file():
        raise ValueError(f"--from-file {from_file} does not exist: name an existing file")
    lines = decode_bytes(from_file.read_bytes())[0].splitlines() if from_file else []
    found = []
    for number, line in enumerate([*items, *lines], start=1 - len(items)):
        address, own_sport, own_skill = [*(word.strip() for word in line.split("\t")), "", ""][:3]
        if address and not address.startswith("#"):
            try:
                item = named_item(
                    address, sport=own_sport or sport, skill=own_skill or skill or None
                )
            except ValueError as error:
                place = f"{from_file.name}, line {number}: " if from_file and number > 0 else ""
                raise ValueError(f"{place}{error}") from None
            if not (elsewhere or item.url.startswith(WATCH)):
                raise ValueError(
                    f"{item.url} is not a YouTube address: name yt-dlp's extractor for that site "
                    "with --extractor"
                )
            found.append(item)
    return found


def _searches(
    taxonomy: Path | None, sports: list[str], skill: str, given: list[str], most: int
) -> list[SearchTerm]:
    """The searches that are given, and the first ``most`` of the taxonomy's, a skill's own name
    before its synonyms.
    """
    from sportskills_lib.curation.sources import sport_and_skill
    from sportskills_lib.curation.taxonomy import SearchTerm, plain, read_taxonomy, search_terms

    found = []
    for text in given:
        sport, named = sport_and_skill({"playlist_title": text})
        found.append(
            SearchTerm(text, sports[0] if len(sports) == 1 else sport or "", skill or named or "")
        )
    if most:
        chosen = read_taxonomy(taxonomy).select_sports(sports)
        every = [*search_terms(chosen, synonyms=False), *search_terms(chosen)]
        matching = [
            each for each in dict.fromkeys(every) if not skill or plain(each.skill) == plain(skill)
        ]
        if not matching:
            raise ValueError(
                f"the taxonomy has no skill {skill!r} of {', '.join(sports) or 'any sport'}: "
                "see its terms"
            )
        found += matching[:most]
    return found
