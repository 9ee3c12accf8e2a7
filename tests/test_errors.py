"""Every error says what to do next, and the drawing at the top of the file is true."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from stepsight import errors
from stepsight.errors import EngineError, InputError, MissingExtraError, StepsightError

FAMILY = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, StepsightError)]


def test_the_drawing_shows_the_whole_family_and_its_shape() -> None:
    drawn: dict[str, str | None] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"    ([│├└─ ]*)(\w+Error)\b", line):
            depth = len(match[1]) // 4
            above[depth:] = [match[2]]
            drawn[match[2]] = above[depth - 1] if depth else None
    assert drawn == {kind.__name__: None if kind is StepsightError else kind.__mro__[1].__name__ for kind in FAMILY}


@pytest.mark.parametrize("kind", [kind for kind in FAMILY if kind is not MissingExtraError])
def test_an_error_shows_its_hint(kind: type[StepsightError]) -> None:
    error = kind("it broke", hint="mend it", retryable=True)
    assert str(error) == "it broke (mend it)"
    assert str(kind("it broke")) == "it broke"
    assert (error.retryable, kind("it broke").retryable) == (True, False)


def test_a_missing_extra_gives_the_line_that_installs_it() -> None:
    assert MissingExtraError("torch", "local").hint == "pip install 'stepsight[local]'"


def test_errors_travel_between_processes() -> None:
    for error in (
        InputError("no such thing", hint="name another"),
        EngineError("busy", hint="wait", retryable=True),
        MissingExtraError("torch", "local"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
        assert (again.hint, again.retryable) == (error.hint, error.retryable)
