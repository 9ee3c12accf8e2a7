"""Which replica answers: the one whose caches know the picture, unless it has far more to do than another."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence

from stepsight.protocols import SampleRequest, ScoreRequest, Turn

_REMEMBERED = 4096
"""So many pictures and texts whose replica is known; the one unused for longest is forgotten."""
_TWICE, _SOME = 2, 32
"""A replica has far more to do than another when it has twice as many rows, and so many more."""

Request = SampleRequest | Sequence[ScoreRequest]


class Homes:
    """Chooses replicas, and counts the rows that each has in work. Not thread-safe.

    Args:
        count: of replicas.
    """

    def __init__(self, count: int) -> None:
        self.loads = [0] * count
        self._homes: OrderedDict[Hashable, int] = OrderedDict()

    def choose(self, request: Request) -> int:
        """The replica for a request, whose rows count as its from now on until `leave`."""
        about = _about(request)
        idlest = self.loads.index(min(self.loads))
        chosen = self._homes.get(about, idlest)
        if self.loads[chosen] > _TWICE * self.loads[idlest] + _SOME:
            chosen = idlest
        self._homes[about] = chosen
        self._homes.move_to_end(about)
        if len(self._homes) > _REMEMBERED:
            self._homes.popitem(last=False)
        self.loads[chosen] += _rows(request)
        return chosen

    def leave(self, replica: int, request: Request) -> None:
        """A request that was given to a replica is answered."""
        self.loads[replica] -= _rows(request)


def _rows(request: Request) -> int:
    return len(request.seeds) if isinstance(request, SampleRequest) else len(request)


def _about(request: Request) -> Hashable:
    """What requests that share key-values have in common: the pictures, or without any, how the text begins."""
    turns: tuple[Turn, ...] = request.turns if isinstance(request, SampleRequest) else request[0].turns
    pictures = tuple(image for turn in turns for image in turn.images)
    return pictures or (turns[0].text if turns else "")
