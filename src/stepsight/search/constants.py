"""Constants of strategies by name: `swires.cutoff=-0.2`, or a whole set of them, `swires=released`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any

from stepsight.errors import InputError
from stepsight.protocols import SWIRES, SearchSettings


def with_constants(settings: SearchSettings, words: Iterable[str]) -> SearchSettings:
    """The settings with what the words say, one after the other.

    Raises:
        InputError: a word is no `NAME=VALUE`, its name is unknown, or its value no number.
    """
    for word in words:
        name, equals, value = (part.strip() for part in word.partition("="))
        if not equals or not value:
            raise InputError(f"{word!r} sets nothing", hint="write it as swires.retraces=1")
        if name == "swires":
            if value not in SWIRES:
                raise InputError(f"there are no constants {value!r}", hint=f"known: {', '.join(SWIRES)}")
            settings = replace(settings, swires=SWIRES[value])
            continue
        known = {f"swires.{field.name}": field for field in fields(settings.swires)}
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"there is no constant {name!r}", hint=f"{hint}known: {', '.join(known)}")
        field = known[name]
        changes: dict[str, Any] = {field.name: _number(word, value, whole=field.type == "int")}
        settings = replace(settings, swires=replace(settings.swires, **changes))
    return settings


def _number(word: str, value: str, *, whole: bool) -> int | float:
    try:
        return int(value) if whole else float(value)
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise InputError(f"{word!r} does not set {kind}", hint=f"give {kind}") from None
