"""The tables of a ledger, and what is read from them."""

from __future__ import annotations

from dataclasses import dataclass

SCHEMA = 2
"""Changes with the tables; a ledger of another one is refused."""

TABLES = """
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE questions (
    id TEXT PRIMARY KEY, place INTEGER NOT NULL UNIQUE, digest TEXT NOT NULL, source TEXT NOT NULL,
    row TEXT NOT NULL, turn INTEGER NOT NULL, image TEXT NOT NULL, human TEXT NOT NULL, answer TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'kept', 'rejected', 'failed')),
    text TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '',
    replies INTEGER NOT NULL DEFAULT 0, opinion TEXT NOT NULL DEFAULT '', before TEXT NOT NULL DEFAULT '',
    UNIQUE (row, turn)
);
CREATE TABLE attempts (
    key TEXT PRIMARY KEY, question TEXT NOT NULL REFERENCES questions (id), role TEXT NOT NULL, asked TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('asked', 'replied', 'failed')),
    sent INTEGER NOT NULL, reserved INTEGER NOT NULL, lost INTEGER NOT NULL DEFAULT 0,
    reply TEXT NOT NULL DEFAULT '', finish TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '',
    computed INTEGER NOT NULL DEFAULT 0, cached INTEGER NOT NULL DEFAULT 0, generated INTEGER NOT NULL DEFAULT 0,
    price INTEGER NOT NULL DEFAULT 0, seconds REAL NOT NULL DEFAULT 0, at REAL NOT NULL
);
CREATE INDEX attempts_of ON attempts (question);
CREATE TABLE failures (
    key TEXT NOT NULL REFERENCES attempts (key), sent INTEGER NOT NULL, reason TEXT NOT NULL, lost INTEGER NOT NULL,
    seconds REAL NOT NULL, at REAL NOT NULL, PRIMARY KEY (key, sent)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Reply:
    """A reply as it was received, with what it cost and how long it took."""

    text: str
    finish: str
    reason: str
    computed: int
    cached: int
    generated: int
    price: int
    seconds: float


@dataclass(frozen=True)
class Settled:
    """A question that has come to its end. `answer` is the known one, `text` the staged one or the last reply."""

    id: str
    source: str
    row: str
    image: str
    human: str
    answer: str
    text: str
    reason: str
    detail: str
