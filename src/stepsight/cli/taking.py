"""Options that several verbs share, said once: a function that takes them makes what a command gets."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

Command = Callable[..., None]


def takes(**makers: Callable[..., Any]) -> Callable[[Command], Command]:
    """Give a command the options of each maker, where the parameter that has the maker's name stands.

        @takes(choice=choose_model)
        def ask(image: str, *, choice: ModelChoice) -> None: ...

    What the maker returns for the options is passed on under that name.
    """

    def give(command: Command) -> Command:
        options = {name: _parameters(maker) for name, maker in makers.items()}
        # The types of these parameters are imported for type checkers only.
        command.__annotations__ = {name: kind for name, kind in command.__annotations__.items() if name not in makers}
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            parameters += options.get(parameter.name, [parameter])

        @functools.wraps(command)
        def run(**given: Any) -> None:
            made = {
                name: maker(**{parameter.name: given.pop(parameter.name) for parameter in options[name]})
                for name, maker in makers.items()
            }
            command(**given, **made)

        # Keyword-only, as options without a default may stand behind others with one.
        alike = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        # typer reads this attribute, which functions are not declared to have.
        run.__signature__ = inspect.Signature(alike)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return give


def _parameters(maker: Callable[..., Any]) -> list[inspect.Parameter]:
    # What it returns is imported for type checkers only.
    names = {**vars(sys.modules[maker.__module__]), **dict.fromkeys(_returned(maker), Any)}
    return list(inspect.signature(maker, eval_str=True, globals=names).parameters.values())


def _returned(maker: Callable[..., Any]) -> list[str]:
    said = maker.__annotations__.get("return", "")
    return [said] if isinstance(said, str) and said.isidentifier() else []
