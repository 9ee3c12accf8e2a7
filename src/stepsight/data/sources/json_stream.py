"""Rows of a big JSON file one at a time: a list, a list under a key, or a mapping whose values are the rows.

    [row, row, ...]     {"info": ..., "questions": [row, row, ...]}     {"key": row, "key": row, ...}

Only one row, and one buffer, is in memory. Where the text is no JSON any more, the rest of the file cannot be told
apart into rows: that is the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from json import JSONDecodeError
from pathlib import Path
from typing import Any, TextIO

from stepsight.errors import RecordError

_CHUNK = 1 << 16
_MOST = 256 << 20
"""No row is longer than so many characters: a text without an end is not read into memory whole."""
_CUT = 16
"""A fault so near to the end of the buffer, blanks aside, may be a word that it cuts in two: `tru`, `-`, `\\u12`."""

_BEHIND = tuple(" \t\r\n,:]}")


def scan_list(path: Path, key: str | None = None) -> Iterator[Any]:
    """Each element of the list that is the file, or that stands under `key` of the mapping that is the file.

    Raises:
        RecordError: the file cannot be read, or is no such JSON from some row on; the message names it.
    """
    with _open(path) as stream:
        reader = _Reader(path, stream)
        if key is not None:
            reader.expect("{")
            found = False
            for name in reader.members():
                if name == key:
                    found = True
                    break
                reader.value()
            if not found:
                raise RecordError(f"{path} has no {key!r}", hint="download the file again")
        reader.expect("[")
        yield from reader.elements()


def scan_mapping(path: Path) -> Iterator[tuple[str, Any]]:
    """Each key and value of the mapping that is the file; a key that comes twice is given twice.

    Raises:
        RecordError: as `scan_list`.
    """
    with _open(path) as stream:
        reader = _Reader(path, stream)
        reader.expect("{")
        for name in reader.members():
            yield name, reader.value()


def _open(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", errors="strict")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RecordError(f"{path} cannot be read: {reason}", hint="download the file again") from error


class _Reader:
    """A place in a JSON text of which only a part is in memory."""

    def __init__(self, path: Path, stream: TextIO) -> None:
        self._path = path
        self._stream = stream
        self._buffer = ""
        self._at = 0
        self._ended = False
        self._row = 0
        self._decoder = json.JSONDecoder()

    def expect(self, mark: str) -> None:
        found = self._next()
        if found != mark:
            raise self._broken(f"expected {mark!r}, found {found!r}" if found else "the file ends too early")
        self._at += 1

    def elements(self) -> Iterator[Any]:
        if self._next() == "]":
            return
        while True:
            self._row += 1
            yield self.value()
            if self._next() == "]":
                return
            self.expect(",")

    def members(self) -> Iterator[str]:
        """Each key of a mapping; the caller reads its value before going on."""
        if self._next() == "}":
            return
        while True:
            self._row += 1
            name = self.value()
            if not isinstance(name, str):
                raise self._broken("a key is no text")
            self.expect(":")
            yield name
            if self._next() == "}":
                return
            self.expect(",")

    def value(self) -> Any:
        self._next()
        wanted = _CHUNK
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or len(self._buffer[error.pos :].strip()) <= _CUT
                if self._ended or not cut or len(self._buffer) > _MOST:
                    raise self._broken("the file ends too early" if cut else error.msg) from error
            except RecursionError as error:
                raise self._broken("nested too deeply") from error
            else:
                # A number may go on behind the buffer's end, and `2.` or `2e` at that end is read as 2.
                rest = self._buffer[end : end + _CUT]
                if rest[:1] in _BEHIND or len(rest) == _CUT or self._ended:
                    self._at = end
                    return value
            self._fill(wanted)
            wanted *= 2  # so that a long row is not begun again for every chunk of it

    def _next(self) -> str:
        """The next character that is no white space; empty at the end of the file."""
        while True:
            while self._at < len(self._buffer):
                if self._buffer[self._at] not in " \t\r\n":
                    return self._buffer[self._at]
                self._at += 1
            if self._ended:
                return ""
            self._fill(_CHUNK)

    def _fill(self, count: int) -> None:
        try:
            more = self._stream.read(count)
        except UnicodeDecodeError as error:
            raise self._broken("not UTF-8") from error
        except OSError as error:
            raise self._broken(error.strerror or type(error).__name__) from error
        self._ended = not more
        self._buffer = self._buffer[self._at :] + more
        self._at = 0

    def _broken(self, what: str) -> RecordError:
        return RecordError(f"row {max(self._row, 1)} and what follows cannot be read: {what}")
