"""A run as checked YAML: strict keys, every fault at once, the resolved recipe saved beside the results.

The recipes' models live with what they configure; this file turns YAML into them. `recipe_yaml.py` says what YAML means
here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from stepsight.errors import RecipeError
from stepsight.files import whole_file
from stepsight.recipe_yaml import Document, Key, YamlError, dump_yaml, parse_yaml


class Recipe(BaseModel):
    """What the models of recipes derive from: frozen, an unknown key is an error, numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class _Fault:
    key: Key
    reason: str
    line: int | None = None

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{dotted}: {self.reason}" if (dotted := _dotted(self.key)) else f"{where}{self.reason}"


def load_recipe(path: Path, model_type: type[Model], overrides: Sequence[str] = ()) -> Model:
    """Read the recipe at `path` as a `model_type`.

    `overrides` are texts such as `"training.batch_size=8"`: a dotted key (a number picks from a list) and a YAML value.
    They are applied in order, before anything is checked.

    Raises:
        RecipeError: `path` cannot be read, is not YAML, or does not check out. The message lists all faults, each with
            its dotted key, its line where it has one, what is wrong and, for an unknown key, the nearest known one.
        TypeError: `model_type`, or a model inside it, would let unknown keys pass.
    """
    for model in _models_within(model_type):
        if model.model_config.get("extra") != "forbid":
            raise TypeError(f"{model.__name__} must forbid extra keys to be part of a recipe")

    document = _read(path)
    faults = [_Fault(key, "is given twice", line) for key, line in document.repeated]
    data = document.value
    lines: dict[Key, int | None] = dict(document.lines)
    for override in overrides:
        try:
            key = _apply(override, data)
        except _OverrideError as error:
            faults.append(_Fault((), f"override {override!r}: {error}"))
        else:
            # The value no longer stands in the file, so the file's lines would mislead.
            lines = {other: line for other, line in lines.items() if other[: len(key)] != key} | {key: None}

    try:
        recipe = model_type.model_validate(data)
    except ValidationError as error:
        faults.extend(_explain(error, data, model_type, lines))
    else:
        if not faults:
            return recipe
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    raise RecipeError("\n  ".join([f"{path}: {count}", *map(str, faults)]))


def save_resolved(recipe: BaseModel, path: Path) -> None:
    """Write every value of `recipe`, defaults included, so that `load_recipe` gives an equal recipe back."""
    with whole_file(path) as stream:
        stream.write(dump_yaml(recipe.model_dump(mode="json")).encode("utf-8"))


def _read(path: Path) -> Document:
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RecipeError(f"{path} cannot be read: {reason}", hint="give the path of a YAML file") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text", hint="give the path of a YAML file") from error
    except YamlError as error:
        raise RecipeError(f"{path}, line {error.line}: {error}") from error


# --- overrides


class _OverrideError(ValueError):
    pass


def _apply(override: str, data: dict[Any, Any]) -> Key:
    """Set one dotted key in `data`, making the mappings on the way, and return the key."""
    dotted, equals, written = override.partition("=")
    parts = dotted.strip().split(".")
    if not equals or not all(parts):
        raise _OverrideError("write it as key=value, such as training.batch_size=8")
    try:
        document = parse_yaml(written, top="anything")
    except YamlError as error:
        raise _OverrideError(f"the value is not YAML: {error}") from error
    if document.repeated:
        raise _OverrideError("the value gives a key twice")

    key: list[int | str] = []
    place: Any = data
    for depth, part in enumerate(parts):
        step = _step(place, part, key)
        last = depth == len(parts) - 1
        if last:
            place[step] = document.value
        elif isinstance(place, dict) and place.get(step) is None:
            place[step] = {}
        key.append(step)
        place = place[step]
    return tuple(key)


def _step(place: Any, part: str, key: Sequence[int | str]) -> int | str:
    if isinstance(place, dict):
        return part
    if not isinstance(place, list):
        raise _OverrideError(f"{_dotted(key)} is a single value and has no {part!r} inside")
    if not part.isdecimal() or int(part) >= len(place):
        raise _OverrideError(
            f"{_dotted(key)} is a list of {len(place)}; {part!r} is none of its places, counted from 0"
        )
    return int(part)


# --- what pydantic found, in words


def _explain(
    error: ValidationError, data: Any, model_type: type[BaseModel], lines: Mapping[Key, int | None]
) -> Iterator[_Fault]:
    for fault in error.errors(include_url=False):
        location = fault["loc"]
        kind = fault["type"]
        key = _written_key(location, data)
        line = _nearest_line(key, lines)
        if kind == "extra_forbidden":
            yield _Fault(key, _unknown(location, key, model_type), line)
        elif kind == "missing":
            yield _Fault(key, "is required", line)
        elif kind in {"value_error", "assertion_error"}:
            yield _Fault(key, str(fault["ctx"]["error"]), line)
        else:
            shown = repr(fault["input"])
            shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
            yield _Fault(key, f"{fault['msg'][:1].lower()}{fault['msg'][1:]}, got {shown}", line)


def _written_key(location: Key, data: Any) -> Key:
    """Leave out the parts of pydantic's location that name a branch of a union, not a key of the file."""
    key: list[int | str] = []
    place = data
    for index, part in enumerate(location):
        in_mapping = isinstance(place, dict) and part in place
        in_list = isinstance(place, list) and isinstance(part, int) and part < len(place)
        missing = isinstance(place, dict) and index == len(location) - 1
        if in_mapping or in_list:
            place = place[part]
        elif not missing:
            continue
        key.append(part)
    return tuple(key)


def _nearest_line(key: Key, lines: Mapping[Key, int | None]) -> int | None:
    return next((lines[key[:length]] for length in range(len(key), 0, -1) if key[:length] in lines), None)


def _unknown(location: Key, key: Key, model_type: type[BaseModel]) -> str:
    name = str(location[-1])
    owners = [model_type]
    for part in location[:-1]:
        owners = _step_into(owners, part)
    siblings = list(dict.fromkeys(field for owner in owners for field in owner.model_fields))
    if close := difflib.get_close_matches(name, siblings, n=1):
        return f"unknown key; did you mean {_dotted((*key[:-1], close[0]))}?"
    elsewhere = [path for path in _known_keys(model_type) if path[-1] == name]
    if elsewhere:
        return f"unknown key here; did you mean {_dotted(elsewhere[0])}?"
    return f"unknown key; known here: {', '.join(siblings)}" if siblings else "unknown key"


def _step_into(owners: Sequence[type[BaseModel]], part: int | str) -> list[type[BaseModel]]:
    """Return the models one part of a location further; an index stays put, the branch of a union narrows."""
    fields = [owner.model_fields[str(part)] for owner in owners if str(part) in owner.model_fields]
    if fields:
        return [model for field in fields for model in _models_in(field.annotation)]
    return [owner for owner in owners if part == owner.__name__ or part in _literals(owner)] or list(owners)


def _literals(model: type[BaseModel]) -> list[Any]:
    annotations = [field.annotation for field in model.model_fields.values()]
    return [value for kind in annotations if get_origin(kind) is Literal for value in get_args(kind)]


def _known_keys(model_type: type[BaseModel], seen: tuple[type[BaseModel], ...] = ()) -> Iterator[Key]:
    for name, field in model_type.model_fields.items():
        yield (name,)
        for model in _models_in(field.annotation):
            if model not in seen:
                yield from ((name, *inner) for inner in _known_keys(model, (*seen, model_type)))


def _models_within(model_type: type[BaseModel]) -> Iterator[type[BaseModel]]:
    seen: list[type[BaseModel]] = []
    waiting = [model_type]
    while waiting:
        model = waiting.pop()
        if model not in seen:
            seen.append(model)
            waiting.extend(inner for field in model.model_fields.values() for inner in _models_in(field.annotation))
    yield from seen


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a field's type mentions: in unions, lists, mappings, `Annotated`."""
    if arguments := get_args(annotation):
        for argument in arguments:
            yield from _models_in(argument)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation


def _dotted(key: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in key)
