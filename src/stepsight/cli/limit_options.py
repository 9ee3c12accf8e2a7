"""The options that bound what `stepsight serve` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stepsight.serving.limits import Limits

_LIMITS = "Limits"


def choose_limits(
    max_searches: Annotated[int, typer.Option(help="Searches at once.", min=1, rich_help_panel=_LIMITS)] = 32,
    max_queue: Annotated[
        int, typer.Option(help="Requests that wait for one of these; others get 429.", min=0, rich_help_panel=_LIMITS)
    ] = 128,
    queue_seconds: Annotated[float, typer.Option(help="How long they wait.", rich_help_panel=_LIMITS)] = 60.0,
    search_seconds: Annotated[float, typer.Option(help="How long a search may take.", rich_help_panel=_LIMITS)] = 300.0,
    max_body_mb: Annotated[float, typer.Option(help="Megabytes of a request.", rich_help_panel=_LIMITS)] = 20.0,
    max_held_mb: Annotated[
        float, typer.Option(help="Megabytes of all requests that are being read.", rich_help_panel=_LIMITS)
    ] = 256.0,
    max_megapixels: Annotated[float, typer.Option(help="Of a picture, in millions.", rich_help_panel=_LIMITS)] = 16.0,
    max_pictures: Annotated[int, typer.Option(help="Pictures of a request.", min=1, rich_help_panel=_LIMITS)] = 4,
    max_turns: Annotated[int, typer.Option(help="Messages of a conversation.", min=1, rich_help_panel=_LIMITS)] = 32,
    max_characters: Annotated[
        int, typer.Option(help="Characters of a conversation.", min=1, rich_help_panel=_LIMITS)
    ] = 32_000,
    max_answer_tokens: Annotated[
        int, typer.Option(help="Tokens of an answer, all stages together.", min=1, rich_help_panel=_LIMITS)
    ] = 4096,
    max_candidates: Annotated[
        int, typer.Option(help="Candidates drawn at a time.", min=1, rich_help_panel=_LIMITS)
    ] = 16,
    max_uploads: Annotated[int, typer.Option(help="Uploads kept.", min=1, rich_help_panel=_LIMITS)] = 256,
    upload_seconds: Annotated[float, typer.Option(help="How long they are kept.", rich_help_panel=_LIMITS)] = 3600.0,
) -> Limits:
    """What the options say, checked.

    Raises:
        InputError: a bound is not positive.
    """
    from stepsight.serving.limits import Limits

    return Limits(
        searches=max_searches,
        queue=max_queue,
        queue_seconds=queue_seconds,
        search_seconds=search_seconds,
        body_mb=max_body_mb,
        held_mb=max_held_mb,
        megapixels=max_megapixels,
        pictures=max_pictures,
        turns=max_turns,
        characters=max_characters,
        answer_tokens=max_answer_tokens,
        candidates=max_candidates,
        uploads=max_uploads,
        upload_seconds=upload_seconds,
    )
