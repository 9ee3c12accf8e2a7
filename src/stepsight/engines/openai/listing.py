"""Which models a server offers, and how much text they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepsight.engines.openai.link import Link
from stepsight.errors import InputError, ModelError

_LIMITS = ("max_model_len", "context_length", "max_context_length", "n_ctx")


async def listed_models(link: Link) -> dict[str, int | None]:
    """The ids under `/models`, each with its context limit in tokens where the server tells it.

    A server without such a list has none.

    Raises:
        StepsightError: nobody answers, or the key is refused.
    """
    try:
        reply = await link.get("/models")
    except ModelError:
        return {}
    rows = reply.get("data")
    return {
        str(row["id"]): _limit(row)
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and row.get("id")
    }


def chosen_model(name: str, listed: Mapping[str, int | None], url: str, *, default: str = "") -> str:
    """The id to ask for: `name` if it says one, else the only one there is.

    A name equal to `default` says nothing unless the server offers that very id.

    Raises:
        InputError: no name is given and the server offers none or several.
        ModelError: the server has a list and the name is not on it.
    """
    if name in listed:
        return name
    ids = ", ".join(list(listed)[:8]) + (", ..." if len(listed) > 8 else "")
    if name and name != default:
        if listed:
            raise ModelError(f"the server {url} offers no model {name!r}", hint=f"it offers: {ids}")
        return name
    if len(listed) == 1:
        return next(iter(listed))
    offers = f"offers several models: {ids}" if listed else "does not list its models"
    raise InputError(
        f"the server {url} {offers}", hint="name one with --model, and see that the address is whole; most end in /v1"
    )


def _limit(row: Mapping[str, Any]) -> int | None:
    meta = row.get("meta")
    for place in (row, meta if isinstance(meta, dict) else {}):
        for key in _LIMITS:
            if isinstance(place.get(key), int) and place[key] > 0:
                return int(place[key])
    return None
