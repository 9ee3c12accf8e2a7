"""Finding the first stop string in a text that arrives in bits, by looking at its end only."""

from __future__ import annotations


class StopScanner:
    """Reads a text bit by bit; says where the first of the stop strings ends."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._reach = max((len(stop) for stop in stops), default=1) - 1
        self._tail = ""

    def push(self, text: str) -> int | None:
        """Read the next bit.

        Returns:
            How many characters of `text` belong to the continuation if a stop string ends inside it, else None. The
            stop that ends first wins.
        """
        if not text or not self._stops:
            return None
        window = self._tail + text
        ends = [place + len(stop) for stop in self._stops if (place := window.find(stop)) >= 0]
        if ends:
            return min(ends) - len(self._tail)
        self._tail = window[-self._reach :] if self._reach else ""
        return None
