"""Constants of strategies by name: `swires.cutoff=-0.2`, or a whole set of them, `swires=released`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any

from stepsight.errors import InputError
from stepsight.protocols import SWIRES, SearchSettings

_GROUPS = ("swires", "adaptive")


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
        known = {f"{group}.{one.name}": one for group in _GROUPS for one in fields(getattr(settings, group))}
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"there is no constant {name!r}", hint=f"{hint}known: {', '.join(known)}")
        group, one = name.partition(".")[0], known[name]
        changed: Any = replace(getattr(settings, group), **{one.name: _value(word, value, str(one.type))})
        changes: dict[str, Any] = {group: changed}
        settings = replace(settings, **changes)
    return settings


def _value(word: str, value: str, kind: str) -> int | float | str:
    if kind.startswith("Literal"):
        words = re.findall(r"\w+", kind)[1:]
        if value not in words:
            raise InputError(f"{word!r} sets something unknown", hint=f"choose one of {', '.join(words)}")
        return value
    try:
        return int(value) if kind == "int" else float(value)
    except ValueError:
        number = "a whole number" if kind == "int" else "a number"
        raise InputError(f"{word!r} does not set {number}", hint=f"give {number}") from None
