"""Pickles of plain data: lists, mappings, numbers, texts, and numpy's arrays and numbers. Nothing else is loaded.

A pickle is a program: it names functions, which reading calls. So names are looked up in a short list, and any other
ends the reading before it is imported. A pickle is read into memory whole, as its format has it; one made to fill the
memory is not covered.
"""

from __future__ import annotations

import importlib
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

from stepsight.errors import RecordError

_BUILTINS = ("builtins", "__builtin__")
_ARRAYS = ("numpy.core", "numpy._core")
"""numpy's own name for its insides, before version 2 and since."""


def _latin1(text: str, encoding: str) -> bytes:
    """What old protocols call to write bytes; the real one would take any codec."""
    if encoding.lower().replace("-", "") != "latin1":
        raise pickle.UnpicklingError(f"bytes in {encoding!r}")
    return text.encode("latin-1")


def load_plain(path: Path) -> Any:
    """The data in a pickle.

    Raises:
        RecordError: it cannot be read, is damaged, or names anything but plain data, which is said and not run.
    """
    try:
        with path.open("rb") as stream:
            # As Python 2 wrote arrays: their bytes are texts of latin-1.
            return _PlainUnpickler(stream, encoding="latin1").load()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RecordError(f"{path} cannot be read: {reason}", hint="download the file again") from error
    except _ForeignError as error:
        raise RecordError(
            f"{path} is refused: it would run {error}", hint="a dataset needs only lists, numbers, texts and arrays"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # broken bytes make the unpickler raise almost anything
        raise RecordError(f"{path} is no pickle, or damaged: {error}", hint="download the file again") from error


class _ForeignError(pickle.UnpicklingError):
    """A name that is not on the list."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _BUILTINS and name in ("set", "frozenset", "complex", "bytearray"):
            return {"set": set, "frozenset": frozenset, "complex": complex, "bytearray": bytearray}[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(importlib.import_module("numpy"), name)
        package, _, inner = module.rpartition(".")
        if package in _ARRAYS and (inner, name) in (
            ("multiarray", "_reconstruct"),
            ("multiarray", "scalar"),
            ("numeric", "_frombuffer"),
        ):
            return getattr(importlib.import_module(f"numpy._core.{inner}"), name)
        raise _ForeignError(f"{module}.{name}")
