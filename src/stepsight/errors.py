"""Every error that stepsight raises on purpose.

    StepsightError
    ├── InputError            something the user gave: a path, a question, an option
    │   ├── PictureError      not a picture, unreadable, too large
    │   ├── TooLongError      a prompt, or prompt and answer, beyond what the model holds
    │   ├── RecipeError       a recipe that does not check out; lists all its faults
    │   └── RecordError       a malformed row, with its file and line
    ├── MissingExtraError     an optional dependency is not installed
    ├── ModelError            a model folder or hub id that cannot be used
    ├── CapabilityError       a strategy or judge needs what the engine cannot do
    └── EngineError           an engine failed while working; `retryable` says whether trying again may help

Each message names the fault; `hint` names the next step.
"""

from __future__ import annotations

from typing import Any


class StepsightError(Exception):
    """An expected failure. `hint` says what to do next, `retryable` whether trying again may help."""

    def __init__(self, message: str, *, hint: str = "", retryable: bool = False) -> None:
        super().__init__(message)
        self.hint = hint
        self.retryable = retryable

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} ({self.hint})" if self.hint else message

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors travel between processes, and some are made of other things than their message.
        return _again, (type(self), self.args), self.__dict__


class InputError(StepsightError):
    """Something the user gave cannot be used."""


class PictureError(InputError):
    """A file is not a picture, cannot be read, or is too large."""


class TooLongError(InputError):
    """A prompt, or prompt and answer together, are longer than the model holds."""


class RecipeError(InputError):
    """A recipe does not check out; the message lists every fault at once."""


class RecordError(InputError):
    """A row of a file is malformed; the message names file and line."""


class MissingExtraError(StepsightError):
    """An optional dependency is missing; the hint is the line that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed", hint=f"pip install 'stepsight[{extra}]'")


class ModelError(StepsightError):
    """A model folder or hub id cannot be used."""


class CapabilityError(StepsightError):
    """A strategy or judge needs something that the engine cannot do; the hint names the nearest that works."""


class EngineError(StepsightError):
    """An engine failed while working."""


def _again(kind: type[StepsightError], args: tuple[Any, ...]) -> StepsightError:
    error = kind.__new__(kind)
    error.args = args
    return error
