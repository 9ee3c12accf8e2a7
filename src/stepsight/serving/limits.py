"""What one server takes: how much of everything a request may bring, and how many requests there may be."""

from __future__ import annotations

from dataclasses import dataclass, fields

from stepsight.assembly import SearchChoice
from stepsight.errors import InputError

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Bounds of a server.

    searches: run at once; queue: wait for one of these, beyond which requests are sent away (429) at once, and after
    queue_seconds too. search_seconds: of one search, from when it begins. body_mb: megabytes of one request body;
    held_mb: of all bodies and pictures that are being read at the same time. megapixels: of a picture. pictures:
    of one request. turns: messages of a conversation; characters: of all its texts together. answer_tokens: of one
    answer. candidates: drawn at a time. uploads: files kept at the same time, each for upload_seconds.

    Raises:
        InputError: a bound is not positive.
    """

    searches: int = 32
    queue: int = 128
    queue_seconds: float = 60.0
    search_seconds: float = 300.0
    body_mb: float = 20.0
    held_mb: float = 256.0
    megapixels: float = 16.0
    pictures: int = 4
    turns: int = 32
    characters: int = 32_000
    answer_tokens: int = 4096
    candidates: int = 16
    uploads: int = 256
    upload_seconds: float = 3600.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < float("inf") and not (field.name == "queue" and value == 0):
                raise InputError(f"the limit {field.name} is {value}", hint="give more than 0")

    @property
    def body_bytes(self) -> int:
        """The largest body."""
        return int(self.body_mb * MEGABYTE)

    @property
    def held_bytes(self) -> int:
        """All bodies at once; at least one has room."""
        return max(int(self.held_mb * MEGABYTE), self.body_bytes)

    @property
    def pixels(self) -> int:
        """Of the largest picture."""
        return int(self.megapixels * 1e6)

    def check_search(self, plan: SearchChoice) -> None:
        """Make sure that a search draws no more at a time, and goes back no more often, than this server allows.

        Raises:
            InputError: it does.
        """
        settings = plan.settings
        drawn = {
            "swires": max(settings.swires.captions, settings.swires.concluded),
            "adaptive": max(settings.adaptive.captions, settings.adaptive.captions * settings.adaptive.reasonings),
            "greedy": 1,
        }.get(plan.search, settings.width)
        if drawn > self.candidates:
            raise InputError(
                f"{plan.search} would draw {drawn} candidates at a time",
                hint=f"ask for fewer: this server draws {self.candidates} at most",
            )
        rounds = max(settings.swires.retraces, settings.adaptive.rounds)
        if rounds > MOST_ROUNDS:
            raise InputError(f"{rounds} rounds are more than this server goes ({MOST_ROUNDS})", hint="ask for fewer")


MOST_ROUNDS = 8
"""So often a search may go back."""
