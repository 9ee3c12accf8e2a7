"""The options that say how to search, said once for all verbs that have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stepsight.assembly import SearchChoice

_SEARCH = "Search"

SearchOption = Annotated[
    str,
    typer.Option(
        "--search",
        "-s",
        help="stage-beam, sentence-beam, swires, adaptive, best-of-n, vote or greedy.",
        rich_help_panel=_SEARCH,
    ),
]
WidthOption = Annotated[
    int, typer.Option("--width", "-w", help="Candidates drawn at a time.", min=1, rich_help_panel=_SEARCH)
]
JudgeOption = Annotated[
    str,
    typer.Option(
        "--judge",
        "-j",
        help="Who chooses between candidates: self, reward, written, likelihood or vote.",
        rich_help_panel=_SEARCH,
    ),
]
SeedOption = Annotated[int, typer.Option(help="Of all sampling; the same seed gives the same answer.")]
TemperatureOption = Annotated[float, typer.Option(help="Of sampling; 0 is greedy.", min=0.0, rich_help_panel=_SEARCH)]
TopPOption = Annotated[
    float, typer.Option("--top-p", help="Sample from the top of the distribution.", rich_help_panel=_SEARCH)
]
MaxTokensOption = Annotated[
    int, typer.Option("--max-tokens", help="The most one candidate may be long.", min=1, rich_help_panel=_SEARCH)
]
GreedyFirstOption = Annotated[
    bool,
    typer.Option(
        "--greedy-first", help="Decode one candidate greedily and sample only the others.", rich_help_panel=_SEARCH
    ),
]
SurvivorsOption = Annotated[
    int, typer.Option(help="Candidates of the first stage that a stage-beam goes on with.", rich_help_panel=_SEARCH)
]
TokensOption = Annotated[
    int | None,
    typer.Option("--budget-tokens", help="The most tokens written for a question.", rich_help_panel=_SEARCH),
]
SecondsOption = Annotated[
    float | None,
    typer.Option("--budget-seconds", help="The most seconds spent on a question.", rich_help_panel=_SEARCH),
]
CandidatesOption = Annotated[
    int | None,
    typer.Option("--budget-candidates", help="The most candidates drawn for a question.", rich_help_panel=_SEARCH),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A constant of a strategy, such as swires.cutoff=-0.2, or all by name: swires=released.",
        rich_help_panel=_SEARCH,
    ),
]


def choose_search(
    search: SearchOption = "stage-beam",
    width: WidthOption = 4,
    judge: JudgeOption = "self",
    seed: SeedOption = 0,
    temperature: TemperatureOption = 0.6,
    top_p: TopPOption = 0.9,
    max_tokens: MaxTokensOption = 1024,
    greedy_first: GreedyFirstOption = False,
    survivors: SurvivorsOption = 1,
    budget_tokens: TokensOption = None,
    budget_seconds: SecondsOption = None,
    budget_candidates: CandidatesOption = None,
    set_: SetOption = None,
) -> SearchChoice:
    """What the options say, checked.

    Raises:
        InputError: an option makes no sense.
        CapabilityError: the judge cannot serve the strategy.
    """
    from stepsight.assembly import SearchChoice
    from stepsight.protocols import Budget, SearchSettings
    from stepsight.search.constants import with_constants

    settings = SearchSettings(
        width,
        temperature,
        top_p,
        max_tokens,
        seed,
        greedy_first,
        survivors=survivors,
        budget=Budget(budget_tokens, budget_seconds, budget_candidates),
    )
    return SearchChoice(search, judge, with_constants(settings, set_ or ()))
