"""What YAML means in a recipe: version 1.2's plain values, and no key twice.

PyYAML follows version 1.1, where `1e-3` is a text, `no` is false, `1:30` is ninety and `2024-01-01` is a date. Here
`1e-3` is a number, only `true` and `false` are truth values, and dates are texts. `10_000` stays a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import yaml

Key = tuple[int | str, ...]


class YamlError(ValueError):
    """A text is not YAML, or not a mapping; `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Document:
    """A YAML text: its value, the line of each key and list item, each key that is given again and the line of that."""

    value: Any
    lines: dict[Key, int]
    repeated: tuple[tuple[Key, int], ...]


def parse_yaml(text: str, *, top: Literal["mapping", "anything"] = "mapping") -> Document:
    """Read one YAML document. With `top="mapping"` its top level must be one; an empty text is an empty one.

    Raises:
        YamlError: the text is not YAML, holds several documents or has the wrong top level.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        # Before construction, which rewrites merge keys (`<<`) in place.
        keys = list(_keys(node, ())) if node is not None else []
        value = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(error.problem or "not YAML", mark.line + 1 if mark else 1) from error
    except yaml.reader.ReaderError as error:
        raise YamlError(
            f"a character that YAML forbids: {error.reason}", text.count("\n", 0, error.position) + 1
        ) from error
    except YamlError:
        raise
    except (ValueError, RecursionError) as error:
        raise YamlError(f"a value that cannot be read: {error}", 1) from error

    if top == "mapping":
        value = {} if value is None else value
        if not isinstance(value, dict):
            raise YamlError("the top level must be keys and values, such as `name: first-try`", 1)
    return Document(
        value=value,
        lines={key: line for key, line, _ in keys},
        repeated=tuple((key, line) for key, line, again in keys if again),
    )


def dump_yaml(value: Any) -> str:
    """Write `value` (mappings, lists, texts, numbers, truth values, None) so that `parse_yaml` reads it back equal."""
    written: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return written


def _keys(node: yaml.Node, path: Key, above: tuple[yaml.Node, ...] = ()) -> Iterator[tuple[Key, int, bool]]:
    """Yield the place and line of each key and list item, and whether its own mapping has that key already."""
    if node in above:
        raise YamlError("an alias stands inside what it names", node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                inner: Key = (*path, key.value)
                yield inner, key.start_mark.line + 1, key.value in seen
                seen.add(key.value)
                yield from _keys(value, inner, (*above, node))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            inner = (*path, index)
            yield inner, value.start_mark.line + 1, False
            yield from _keys(value, inner, (*above, node))


_FLOAT = re.compile(
    r"""[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?$
       |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$
       |[-+]?\.(?:inf|Inf|INF)$
       |\.(?:nan|NaN|NAN)$""",
    re.VERBOSE,
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 - the very attribute that PyYAML reads; filled below


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<$"), ["<"])


class _Dumper(yaml.SafeDumper):
    """Quotes a text that either version of YAML would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
