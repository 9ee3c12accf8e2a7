"""Pictures that look alike: the same picture scaled, recompressed, brightened, or cropped by a little.

A fingerprint is a 64-bit perceptual hash (signs of the low frequencies of the picture, 32 x 32 grey, as in pHash; see
Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010) and the picture itself at 16 x 16.
The hash finds pairs fast, the small pictures confirm them: drawings on white ground come near one another by chance.

It does not cover: rotation, mirroring, crops of more than some 3 % on each side (charts and drawings: 1.5 %), and
pictures of one colour, which are like nothing. Of diagrams that differ in a label alone it says that they are alike.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

DISTANCE = 14
"""Hashes of the same picture differ in so many of 64 bits at most: 0 to 4 after scaling, recompression or brightening,
up to 14 after a crop of 3 % on each side. Unlike ones differ in 32, give or take 4."""
CORRELATION = 0.9
"""So much the small pictures of a pair must agree."""
_SIDE = 32
_LOW = 8
_SMALL = 16
_TILE = 1024
_FLAT = 2.0
"""A picture whose grey values vary by less is of one colour."""

Floats = npt.NDArray[np.float32]
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Fingerprint:
    """What a picture looks like. `small` holds 16 x 16 grey values, shifted and scaled to mean 0 and length 1."""

    bits: int
    small: bytes


def fingerprint(picture: Image.Image) -> Fingerprint | None:
    """The fingerprint of a picture; None for one of a single colour, which has no features."""
    grey = picture.convert("L")
    values = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float32)
    if float(values.std()) < _FLAT:
        return None
    waves = _waves()
    low = (waves @ values @ waves.T).ravel()
    # The first is the mean, which says nothing of what is seen; every other is positive in about half of all pictures.
    bits = low > np.median(low[1:])
    small = np.asarray(grey.resize((_SMALL, _SMALL), Image.Resampling.BOX), dtype=np.float32)
    small = small - small.mean()
    unit = (small / max(float(np.linalg.norm(small)), 1e-6)).astype(np.float16)
    return Fingerprint(int.from_bytes(np.packbits(bits).tobytes(), "big"), unit.tobytes())


@lru_cache(maxsize=1)
def _waves() -> Floats:
    """The first rows of the discrete cosine transform (II) of 32 values."""
    angle = math.pi / _SIDE * np.outer(np.arange(_LOW), np.arange(_SIDE) + 0.5)
    return np.cos(angle).astype(np.float32)


class Lookalikes:
    """Pictures to be looked up by what they look like.

    Every hash is held against every other, tile by tile: a core does some 300 million such comparisons a second,
    so that 100,000 pictures against 10,000 take seconds, far less than decoding them. A distance of 14 of 64 bits is
    too wide for banding or a BK-tree to leave much out.
    """

    def __init__(
        self, prints: Sequence[Fingerprint], *, distance: int = DISTANCE, correlation: float = CORRELATION
    ) -> None:
        self._distance, self._correlation = distance, correlation
        self._bits, self._small = _stacked(prints)

    def __len__(self) -> int:
        return len(self._bits)

    def like(self, others: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
        """(place here, place in `others`) of all pairs that look alike."""
        bits, small = _stacked(others)
        yield from self._near(bits, small, np.arange(len(bits)), within=False)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Pairs of places that look alike, the lower first; of equal fingerprints the first stands for all.

        So each of a hundred copies of a picture makes one pair, not a hundred.
        """
        first: dict[tuple[int, bytes], int] = {}
        for place, bits in enumerate(self._bits.tolist()):
            one = first.setdefault((bits, self._small[place].tobytes()), place)
            if one != place:
                yield one, place
        places = np.fromiter(first.values(), dtype=np.int64, count=len(first))
        yield from self._near(self._bits[places], self._small[places], places, within=True)

    def _near(
        self, bits: Hashes, small: npt.NDArray[np.float16], places: npt.NDArray[np.int64], *, within: bool
    ) -> Iterator[tuple[int, int]]:
        own, own_bits, own_small = np.arange(len(self)), self._bits, self._small
        if within:
            own, own_bits, own_small = places, bits, small
        for top in range(0, len(own), _TILE):
            for left in range(top if within else 0, len(bits), _TILE):
                apart = np.bitwise_count(own_bits[top : top + _TILE, None] ^ bits[None, left : left + _TILE])
                one, other = np.nonzero(apart <= self._distance)
                one, other = one + top, other + left
                if within:
                    one, other = one[one < other], other[one < other]
                agree = (own_small[one].astype(np.float32) * small[other].astype(np.float32)).sum(axis=1)
                kept = agree >= self._correlation
                yield from zip(own[one[kept]].tolist(), places[other[kept]].tolist(), strict=True)


def _stacked(prints: Sequence[Fingerprint]) -> tuple[Hashes, npt.NDArray[np.float16]]:
    small = np.frombuffer(b"".join(one.small for one in prints), dtype=np.float16)
    return np.array([one.bits for one in prints], dtype=np.uint64), small.reshape(len(prints), _SMALL * _SMALL)


def groups_of(count: int, pairs: Iterator[tuple[int, int]]) -> list[int]:
    """The lowest place of the group that each of `count` things belongs to; pairs join groups."""
    above = list(range(count))

    def top(place: int) -> int:
        while above[place] != place:
            above[place] = above[above[place]]
            place = above[place]
        return place

    for one, other in pairs:
        low, high = sorted((top(one), top(other)))
        above[high] = low
    return [top(place) for place in range(count)]


def members(groups: Sequence[int]) -> list[list[int]]:
    """The groups of more than one, each as its places."""
    gathered: defaultdict[int, list[int]] = defaultdict(list)
    for place, group in enumerate(groups):
        gathered[group].append(place)
    return [places for places in gathered.values() if len(places) > 1]
