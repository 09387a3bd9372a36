"""``sportskills taxonomy …`` and ``sportskills fetch``: thin commands over this package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sportskills_lib.curation.fetch.fetcher import FetchItem
    from sportskills_lib.curation.fetch.propose_skills import Ask
    from sportskills_lib.curation.fetch.search_terms import SearchTerm
    from sportskills_lib.curation.fetch.youtube import FetchSettings
    from sportskills_lib.language.client import ChatClient

taxonomy_app = typer.Typer(
    help=(
        "The sports and skills that are searched for: show them, or let a chat model propose more."
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
)
TaxonomyFile = Annotated[
    Path | None, typer.Option("--taxonomy", help="Your own file; default: the shipped one.")
]
Sports = Annotated[
    list[str] | None, typer.Option("--sport", help="Only this sport; can be repeated.")
]


def _path(taxonomy: Path | None) -> Path:
    from sportskills_lib.curation.taxonomy import SHIPPED

    return taxonomy or SHIPPED


@taxonomy_app.command(epilog="Example: sportskills taxonomy show --sport judo")
def show(taxonomy: TaxonomyFile = None, sport: Sports = None) -> None:
    """Check the file and count skills, spellings and searches of each sport."""
    from sportskills_lib.curation.fetch.search_terms import counts_by_sport
    from sportskills_lib.curation.taxonomy import read_taxonomy

    rows = counts_by_sport(read_taxonomy(_path(taxonomy)).select_sports(sport or []))
    typer.echo(f"{'sport':<22} {'skills':>7} {'spellings':>10} {'searches':>9}")
    totals = [sum(row[1] for row in rows), sum(row[2] for row in rows), sum(row[3] for row in rows)]
    for name, *numbers in [*rows, (f"{len(rows)} sports", *totals)]:
        typer.echo(f"{name:<22} {numbers[0]:>7} {numbers[1]:>10} {numbers[2]:>9}")


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
    from sportskills_lib.curation.fetch.search_terms import search_terms
    from sportskills_lib.curation.taxonomy import read_taxonomy

    for each in search_terms(
        read_taxonomy(_path(taxonomy)).select_sports(sport or []), synonyms=synonyms
    ):
        typer.echo(f"{each.term}\t{each.sport}\t{each.skill}")


@taxonomy_app.command(
    epilog="Example: sportskills taxonomy propose --sport judo --model qwen3 --url "
    "http://localhost:8000/v1, "
    "then sportskills taxonomy propose --accept"
)
def propose(
    taxonomy: TaxonomyFile = None,
    sport: Sports = None,
    model: Annotated[str, typer.Option(help="The chat model's name.")] = "",
    url: Annotated[
        str, typer.Option(help="An OpenAI-compatible server; default: OPENAI_BASE_URL.")
    ] = "",
    count: Annotated[
        int, typer.Option(min=1, max=50, help="Maximum number of new skills per sport.")
    ] = 5,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept", help="Write the last proposal to the file, without asking a model."
        ),
    ] = False,
) -> None:
    """Show what a chat model would add to the taxonomy, as a diff; --accept writes just that."""
    from sportskills_lib.curation.fetch import propose_skills as proposing
    from sportskills_lib.curation.taxonomy import read_taxonomy, taxonomy_text

    path = _path(taxonomy)
    if accept:
        typer.echo(proposing.accept(path), nl=False)
        typer.echo(f"written to {path.name}")
        return
    sports = read_taxonomy(path).select_sports(sport or [])
    before = taxonomy_text(path)
    with _chat(url, model) as client:
        proposal = proposing.propose(before, sports, chat_asker(client), count=count)
    typer.echo(proposing.difference(before, proposal.text, path.name), nl=False)
    for name, skill, why in proposal.refused:
        typer.echo(f"refused: {name}, {skill or 'no answer'}: {why}", err=True)
    if proposal.added:
        proposing.keep(path, before, proposal)
        typer.echo(
            f"{len(proposal.added)} skills proposed; `sportskills taxonomy propose --accept` "
            "writes them",
            err=True,
        )


def _chat(url: str, model: str) -> ChatClient:
    from sportskills_lib.config import ChatConfig
    from sportskills_lib.language.client import open_client

    return open_client(
        ChatConfig.from_parameters({"chat_url": url, "chat_model": model}), account="taxonomy"
    )


def chat_asker(client: ChatClient) -> Ask:
    """Asks through the library's chat client, one prompt at a time."""
    from sportskills_lib.curation.fetch.propose_skills import PROMPT_VERSION, ProposedSkills
    from sportskills_lib.language.prompts import Prompt

    def ask(prompt: str, schema: type[ProposedSkills], /) -> ProposedSkills | None:
        system = (
            "You help to list the physical skills of sports. Answer in JSON of the given "
            "schema only."
        )
        return client.ask_many([Prompt(PROMPT_VERSION, system, prompt)], schema)[0].value

    return ask


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
    from sportskills_lib.curation.fetch.youtube import FetchSettings

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
    _fetched(to, settings, named, searches, each=each, retry=retry)


def _fetched(
    to: Path,
    settings: FetchSettings,
    named: list[FetchItem],
    searches: list[SearchTerm],
    *,
    each: int,
    retry: bool,
) -> None:
    """Search and fetch into ``to``. SearchFailed at the end where a search failed."""
    from sportskills_lib.curation.fetch import fetcher
    from sportskills_lib.curation.fetch.fetch_ledger import FetchLedger
    from sportskills_lib.curation.fetch.youtube import Asker

    store = FetchLedger(to)
    with store.opened(), Asker(settings, store.work) as asker:
        found, lost = fetcher.searched_items(searches, store, asker, each=each)
        for name, why in lost.items():
            typer.echo(f"search {name!r} failed: {why}", err=True)
        wanted = {item.name: item for item in (*named, *found)}
        table = fetcher.fetch(list(wanted.values()), store, asker, retry=retry, report=typer.echo)
    typer.echo(
        f"{to}: " + ", ".join(f"{status} {number}" for status, number in fetcher.counts(table))
    )
    if lost:
        raise fetcher.SearchFailed(
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
    found = [named_item(each, sport=sport, skill=skill or None) for each in items]
    if from_file:
        if not from_file.is_file():
            raise ValueError(f"--from-file {from_file} does not exist: name an existing file")
        for number, line in enumerate(
            decode_bytes(from_file.read_bytes())[0].splitlines(), start=1
        ):
            words = [word.strip() for word in line.split("\t")]
            if not words[0] or words[0].startswith("#"):
                continue
            try:
                _, own_sport, own_skill = [*words, "", ""][:3]
                found.append(
                    named_item(words[0], sport=own_sport or sport, skill=own_skill or skill or None)
                )
            except ValueError as error:
                raise ValueError(f"{from_file.name}, line {number}: {error}") from None
    if (
        other := ""
        if elsewhere
        else next((item.url for item in found if not item.url.startswith(WATCH)), "")
    ):
        raise ValueError(
            f"{other} is not a YouTube address: name yt-dlp's extractor for that site with "
            "--extractor"
        )
    return found


def _searches(
    taxonomy: Path | None, sports: list[str], skill: str, given: list[str], most: int
) -> list[SearchTerm]:
    """The searches that are given, and the first ``most`` of the taxonomy's, a skill's own name
    before its synonyms.
    """
    from sportskills_lib.curation.fetch.search_terms import SearchTerm, search_terms
    from sportskills_lib.curation.sources import sport_and_skill
    from sportskills_lib.curation.taxonomy import plain, read_taxonomy

    known = read_taxonomy(_path(taxonomy))
    found = []
    for text in given:
        sport, named = sport_and_skill({"playlist_title": text})
        found.append(
            SearchTerm(text, sports[0] if len(sports) == 1 else sport or "", skill or named or "")
        )
    if most:
        chosen = known.select_sports(sports)
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
