"""Where a local model goes and in what form: a small value that checks itself before anything heavy is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from stepsight.errors import InputError

DEVICE_MAPS = ("auto", "balanced")
ATTENTION = ("auto", "sdpa", "eager")
QUANTIZE = ("none", "8bit", "4bit")

SHARING = ("auto", "on", "off")
"""Whether rows with a common beginning attend to one copy of it; see `engines/transformers/slots.py`."""

_EXAMPLE = '\'{"": "cuda:0"}\''


@dataclass(frozen=True)
class Placement:
    """How to load a model; whatever is wrong without looking at the machine is refused here.

    device: a torch device, or `auto` for the first accelerator, else the CPU. device_map: `auto` or `balanced` lets
    accelerate place the parts, a JSON object names a device for each, such as `{"": "cuda:0"}`; it stands instead of
    `device`. dtype: of the weights; `auto` for what the checkpoint was saved in. attention: `sdpa` or `eager`; `auto`
    is sdpa. quantize: `8bit` or `4bit` weights by bitsandbytes.

    Raises:
        InputError: a word that does not exist, a map that cannot be read, or a map beside a device.
    """

    device: str = "auto"
    device_map: str | None = None
    dtype: str = "auto"
    attention: str = "auto"
    quantize: str = "none"

    def __post_init__(self) -> None:
        _known("attention implementation", self.attention, ATTENTION)
        _known("quantisation", self.quantize, QUANTIZE)
        _ = self.parts
        if self.device_map is not None and self.device != "auto":
            raise InputError(
                f"a device map and the device {self.device!r} exclude each other",
                hint=f"give one of them; the whole model on one device is the map {_EXAMPLE}",
            )

    @property
    def parts(self) -> str | Mapping[str, str | int] | None:
        """The device map as the library takes it: a word, or a device for each part."""
        if self.device_map is None or self.device_map in DEVICE_MAPS:
            return self.device_map
        try:
            parts = json.loads(self.device_map)
        except json.JSONDecodeError:
            parts = None
        if (
            not isinstance(parts, dict)
            or not parts
            or any(isinstance(device, bool) or not isinstance(device, str | int) for device in parts.values())
        ):
            raise InputError(
                f"the device map {self.device_map!r} cannot be read",
                hint=f"give {', '.join(DEVICE_MAPS)} or a JSON object of parts and devices, such as {_EXAMPLE}",
            )
        return parts


MAX_ROWS = 256
"""The most rows in a batch, unless told otherwise; their memory has a bound of its own."""


def check_bounds(
    cache_gb: float,
    max_rows: int,
    threads: int | None,
    rows_gb: float | None = None,
    draft_tokens: int | None = None,
) -> None:
    """Check what the engine is allowed: GiB of caches and of rows, rows, threads, and tokens of a step with guesses.

    Raises:
        InputError: A bound makes no sense.
    """
    if not 0 <= cache_gb < float("inf") or max_rows < 1 or (threads is not None and threads < 1):
        raise InputError("cache_gb must be a number of at least 0, max_rows and threads at least 1")
    if rows_gb is not None and not 0 < rows_gb < float("inf"):
        raise InputError("rows_gb must be a number above 0")
    if draft_tokens is not None and draft_tokens < 0:
        raise InputError("draft_tokens must be at least 0, which guesses nothing")


def check_sharing(word: str) -> None:
    """Check whether a word says if beginnings are shared.

    Raises:
        InputError: It is none of `SHARING`.
    """
    _known("way of sharing", word, SHARING)


def check_replicas(count: int, device_map: str | None) -> None:
    """Check whether so many copies of a model can be placed.

    Raises:
        InputError: There is none, or a device map would place all of them on the same devices.
    """
    if count < 1:
        raise InputError("there must be at least one replica")
    if count > 1 and device_map is not None:
        raise InputError(
            "a device map and replicas exclude each other",
            hint="replicas take one accelerator each; leave the map away",
        )


def check_compile(wanted: bool) -> None:
    """Refuse `torch.compile`: nobody has found a way in which it pays here (docs/log.md has the figures).

    Raises:
        InputError: It is wanted.
    """
    if wanted:
        raise InputError(
            "torch.compile is not offered: key-values are written where they stand, and a compiled step copied all of "
            "them, which made it four times slower on a CPU; on a GPU it was not tried",
            hint="leave it out; float32 Llamas on a CPU run without the library's modules anyway",
        )


def _known(what: str, word: str, words: tuple[str, ...]) -> None:
    if word not in words:
        near = get_close_matches(word.lower(), words, n=1)
        known = f"known: {', '.join(words)}"
        raise InputError(f"there is no {what} {word!r}", hint=f"did you mean {near[0]}? {known}" if near else known)
