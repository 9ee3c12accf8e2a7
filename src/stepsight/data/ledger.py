"""The ledger of a run: one SQLite file that knows every question and every attempt, and is written before all else.

    run         what run this is (the card), and the schema's version
    questions   one row per question begun: open, kept, rejected (with text and reason) or failed (to be tried again)
    attempts    one row per request: asked, replied or failed; by the hash of the request, which is its key
    failures    one row per sending of a request that brought no reply: why, and what it may have cost

A killed process loses nothing that was committed (WAL); a power cut may lose the last moments, never the file's
soundness. One process at a time: the file is locked while a ledger is open. Amounts are picodollars.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stepsight.data.ledger_tables import SCHEMA, TABLES, Reply, Settled
from stepsight.data.lessons import Lesson
from stepsight.data.reasons import Reason
from stepsight.data.teaching import Taught
from stepsight.errors import InputError

LEDGER = "ledger.sqlite"


class Ledger:
    """An open ledger; use it in a `with` block, from one thread."""

    def __init__(self, path: Path, card: Mapping[str, Any]) -> None:
        """Open the ledger at `path`, or begin one, for the run that `card` (JSON) describes.

        Raises:
            InputError: it is no ledger, of another schema, of another run, or in use.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=0.5)
        try:
            # Locked for as long as it is open: two runs must not pay for the same question.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.execute("BEGIN IMMEDIATE")
            self._open(card)
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._db.close()
            if "locked" in str(error):
                raise InputError(f"{path} is in use by another process", hint="wait for it, or end it") from None
            raise InputError(f"{path} cannot be used: {error}", hint="choose another folder") from error
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise InputError(f"{path} is no ledger: {error}", hint="choose another folder") from error
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._db.close()

    def _open(self, card: Mapping[str, Any]) -> None:
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            for statement in TABLES.split(";"):
                self._db.execute(statement)
            rows = [("schema", str(SCHEMA)), ("card", json.dumps(card, sort_keys=True))]
            self._db.executemany("INSERT INTO run VALUES (?, ?)", rows)
            return
        if "run" not in tables:
            raise InputError(f"{self.path} is some other database", hint="choose another folder")
        held = dict(self._db.execute("SELECT key, value FROM run").fetchall())
        if held.get("schema") != str(SCHEMA):
            raise InputError(
                f"{self.path} has schema {held.get('schema')}, this version reads {SCHEMA}",
                hint="go on with the version that began it, or choose another folder",
            )
        before = json.loads(held["card"])
        now = json.loads(json.dumps(card))
        differing = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        if differing:
            raise InputError(
                f"{self.path} belongs to a run with other {', '.join(differing)}", hint="choose another folder"
            )

    def note(self, key: str, value: float) -> None:
        """Keep a number about the run beside its card."""
        self._db.execute("INSERT OR REPLACE INTO run VALUES (?, ?)", (f"note {key}", repr(value)))

    def noted(self, key: str) -> float | None:
        """A number that was kept, if it was."""
        found = self._db.execute("SELECT value FROM run WHERE key = ?", (f"note {key}",)).fetchone()
        return None if found is None else float(found[0])

    # Questions.

    def begin(self, lesson: Lesson) -> str:
        """Note that a question's turn has come, and return its state: `open`, `kept`, `rejected` or `failed`.

        Raises:
            InputError: its id, its place or its turn belongs to another question.
        """
        question = lesson.question
        found = self._db.execute("SELECT place, digest, state FROM questions WHERE id = ?", (question.id,)).fetchone()
        if found is None:
            told = (question.id, lesson.place, lesson.digest, question.source, lesson.row, lesson.turn)
            said = (lesson.image, lesson.human, lesson.answer)
            try:
                self._db.execute(
                    "INSERT INTO questions (id, place, digest, source, row, turn, image, human, answer) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    tuple(map(_clean, (*told, *said))),
                )
            except sqlite3.IntegrityError as error:
                raise InputError(
                    f"question {question.id} stands at place {lesson.place} as turn {lesson.turn} of row {lesson.row}, "
                    f"where the run has another ({error})",
                    hint="give each turn of a row its own number, or choose another folder for changed questions",
                ) from None
            return "open"
        place, digest, state = found
        if place != lesson.place or digest != lesson.digest:
            raise InputError(
                f"the id {question.id} belongs to another question (at place {place}) of this run",
                hint="give each question its own id, or choose another folder for changed questions",
            )
        return str(state)

    def settle(self, id: str, taught: Taught) -> None:
        """Note what became of a question, once and for all."""
        rejection = taught.rejection
        reason, detail = ("", "") if rejection is None else (rejection.reason.value, rejection.detail)
        state = "kept" if rejection is None else "rejected"
        texts = (taught.text, reason, detail, taught.opinion, ",".join(taught.before))
        self._db.execute(
            "UPDATE questions SET state = ?, text = ?, reason = ?, detail = ?, opinion = ?, before = ?, replies = ? "
            "WHERE id = ? AND state IN ('open', 'failed')",
            (state, *map(_clean, texts), taught.replies, id),
        )

    def fail(self, id: str, detail: str) -> None:
        """Note that the engine failed on a question; the next start tries it again."""
        self._db.execute(
            "UPDATE questions SET state = 'failed', reason = ?, detail = ? "
            "WHERE id = ? AND state IN ('open', 'failed')",
            (Reason.ENGINE_ERROR.value, _clean(detail), id),
        )

    # Attempts.

    def reply(self, key: str) -> Reply | None:
        """The reply that was received to a request, if one was."""
        row = self._db.execute(
            "SELECT reply, finish, reason, computed, cached, generated, price, seconds FROM attempts "
            "WHERE key = ? AND state = 'replied'",
            (key,),
        ).fetchone()
        return None if row is None else Reply(*row)

    def ask(self, key: str, question: str, role: str, asked: str, reserved: int) -> None:
        """Note, before a request is sent, that it will be, and its worst price.

        What was reserved for an earlier sending whose reply never came is lost: it may have been billed.
        """
        before = self._db.execute("SELECT state, reserved FROM attempts WHERE key = ?", (key,)).fetchone()
        if before is not None and before[0] == "asked":
            self.lose(key, "the run ended before a reply came", int(before[1]), 0.0)
        self._db.execute(
            "INSERT INTO attempts (key, question, role, asked, state, sent, reserved, at) "
            "VALUES (?, ?, ?, ?, 'asked', 1, ?, ?) ON CONFLICT (key) DO UPDATE SET "
            "state = 'asked', sent = sent + 1, reserved = excluded.reserved, at = excluded.at WHERE state != 'replied'",
            (key, question, role, _clean(asked), reserved, time.time()),
        )

    def receive(self, key: str, reply: Reply) -> None:
        """Keep a reply; nothing is done with it before."""
        numbers = (reply.computed, reply.cached, reply.generated, reply.price, reply.seconds)
        self._db.execute(
            "UPDATE attempts SET state = 'replied', reply = ?, finish = ?, reason = ?, computed = ?, cached = ?, "
            "generated = ?, price = ?, seconds = ? WHERE key = ? AND state != 'replied'",
            (_clean(reply.text), reply.finish, _clean(reply.reason), *numbers, key),
        )

    def lose(self, key: str, reason: str, amount: int, seconds: float) -> None:
        """Note that a sending brought no reply, why, and how much may have been billed all the same."""
        told = (_clean(reason), amount, seconds)
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(
            "INSERT INTO failures SELECT key, sent, ?, ?, ?, ? FROM attempts WHERE key = ? AND state = 'asked'",
            (*told, time.time(), key),
        )
        self._db.execute(
            "UPDATE attempts SET state = 'failed', reason = ?, lost = lost + ?, seconds = ? "
            "WHERE key = ? AND state = 'asked'",
            (*told, key),
        )
        self._db.execute("COMMIT")

    # Sums.

    def spent(self) -> int:
        """Picodollars: replies, and the worst price of requests whose reply never came."""
        total = "SELECT COALESCE(SUM(price + lost + CASE state WHEN 'asked' THEN reserved ELSE 0 END), 0) FROM attempts"
        return int(self._db.execute(total).fetchone()[0])

    def lost(self) -> int:
        """The part of `spent` that may or may not have been billed."""
        total = "SELECT COALESCE(SUM(lost + CASE state WHEN 'asked' THEN reserved ELSE 0 END), 0) FROM attempts"
        return int(self._db.execute(total).fetchone()[0])

    def states(self) -> dict[str, int]:
        """How many questions are in each state."""
        return dict(self._db.execute("SELECT state, COUNT(*) FROM questions GROUP BY state ORDER BY state").fetchall())

    def reasons(self) -> dict[str, int]:
        """How many questions were rejected, by reason."""
        rows = self._db.execute(
            "SELECT reason, COUNT(*) FROM questions WHERE state = 'rejected' GROUP BY reason ORDER BY COUNT(*) DESC, 1"
        )
        return dict(rows.fetchall())

    def state(self, id: str) -> str | None:
        """The state of a question, if its turn has come."""
        found = self._db.execute("SELECT state FROM questions WHERE id = ?", (id,)).fetchone()
        return None if found is None else str(found[0])

    def outcomes(self) -> dict[str, dict[str, int]]:
        """How many questions of each source are kept, open, failed, or rejected, these by their reasons."""
        counts: dict[str, dict[str, int]] = {}
        rows = self._db.execute(
            "SELECT source, CASE state WHEN 'rejected' THEN reason ELSE state END AS outcome, COUNT(*) FROM questions "
            "GROUP BY source, outcome ORDER BY 1, 2"
        )
        for source, outcome, count in rows:
            counts.setdefault(source, {})[outcome] = count
        return counts

    def rows_by_source(self) -> dict[str, int]:
        """How many rows with a kept turn each source has."""
        rows = self._db.execute(
            "SELECT source, COUNT(DISTINCT row) FROM questions WHERE state = 'kept' GROUP BY source ORDER BY 1"
        )
        return dict(rows.fetchall())

    def totals(self) -> dict[str, float]:
        """Requests replied to, tokens and seconds of waiting for them."""
        names = ("replies", "computed", "cached", "generated", "seconds")
        row = self._db.execute(
            "SELECT COUNT(*), TOTAL(computed), TOTAL(cached), TOTAL(generated), TOTAL(seconds) FROM attempts "
            "WHERE state = 'replied'"
        ).fetchone()
        return dict(zip(names, map(float, row), strict=True))

    def costs(self) -> list[tuple[bool, int, float]]:
        """Of each settled question: whether it was kept, its price, and the seconds of all its requests."""
        rows = self._db.execute(
            "SELECT q.state = 'kept', COALESCE(SUM(a.price + a.lost), 0), TOTAL(a.seconds) FROM questions q "
            "LEFT JOIN attempts a ON a.question = q.id WHERE q.state IN ('kept', 'rejected') GROUP BY q.id "
            "ORDER BY q.place"
        )
        return [(bool(kept), int(price), float(seconds)) for kept, price, seconds in rows]

    def settled(self, state: str) -> Iterator[Settled]:
        """All questions in that state, in order: rows by their first place, turns by their number."""
        rows = self._db.execute(
            "SELECT id, source, q.row, image, human, answer, text, reason, detail FROM questions q "
            "JOIN (SELECT row, MIN(place) AS first FROM questions GROUP BY row) f ON f.row = q.row "
            "WHERE state = ? ORDER BY first, turn, place",
            (state,),
        )
        for row in rows:
            yield Settled(*row)


def _clean(value: Any) -> Any:
    """Text as UTF-8 can hold it: halves of a character that stand alone, which JSON may carry, are replaced."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
