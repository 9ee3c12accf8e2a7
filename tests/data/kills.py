"""Runs that are killed and resumed against a real HTTP teacher, held against what that teacher says it has sent.

Shared by the test (a few kills) and `benchmarks/data_kills.py` (many).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import stepsight
from stepsight.jsonl import write_jsonl
from stepsight.records import Question
from stepsight.stages import STAGES, render

CHILD = """
import sys; sys.modules["torch"] = None; sys.modules["transformers"] = None
import asyncio
from pathlib import Path
from stepsight.data.build_recipe import BuildRecipe
from stepsight.data.building import build, write_rows
from stepsight.data.ledger import LEDGER, Ledger
from stepsight.data.lessons import read_lessons
from stepsight.engines.openai import OpenAIEngine, ProbeReport, Server
questions, out, url = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
engine = OpenAIEngine(Server(url, "teacher"), ProbeReport(url=url, model="teacher", at="now"))
recipe = BuildRecipe(window=6)
with Ledger(out / LEDGER, recipe.card(engine.name)) as ledger:
    print("open", flush=True)
    asyncio.run(build(read_lessons(questions), engine, recipe, ledger))
    write_rows(ledger, out)
"""
"""A build by the engine for servers, without the probe, which would take longer than the run."""


class Teacher:
    """Answers `Which number has q<n>?` after a while; every third question only after a malformed reply, every fifth
    in words of which only the judge can tell what they say. Each reply carries a number of its own.

    `sent` maps that number to the hash of the messages that it answers. After `hold_after` replies all others are held
    back, `held` of them now, until `flow` is set.
    """

    def __init__(self, seconds: float) -> None:
        self.sent: dict[int, str] = {}
        self.asked: Counter[str] = Counter()
        self.hold_after: int | None = None
        self.held = 0
        self.flow = threading.Event()
        self.flow.set()
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
                time.sleep(seconds)
                owner.wait()
                reply = owner.reply(messages)
                body = json.dumps(
                    {
                        "choices": [{"index": 0, "message": {"content": reply}, "finish_reason": "stop"}],
                        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
                    }
                ).encode()
                with suppress(OSError):  # who asked was killed
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """Half a request, of one who was killed while sending it, is no news."""

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Teacher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def wait(self) -> None:
        """For as long as replies are held back."""
        with self._lock:
            if self.hold_after is not None and len(self.sent) >= self.hold_after:
                self.hold_after = None
                self.flow.clear()
            self.held += 1
        self.flow.wait()
        with self._lock:
            self.held -= 1

    def reply(self, messages: list[dict[str, str]]) -> str:
        identity = hashlib.sha256(json.dumps(messages).encode()).hexdigest()
        with self._lock:
            serial = len(self.sent) + 1
            self.sent[serial] = identity
            self.asked[identity] += 1
        text = messages[0]["content"]
        found = re.search(r"has q(\d+)\?", text)
        number = int(found[1]) if found else 0
        if "Other answer:" in text:
            return f"same, says serial {serial}"
        said = f"number {number}, I think" if number % 5 == 0 else str(number)
        told = ("I will look at it.", f"A number with serial {serial}.", "It is the number that is there.", said)
        whole = render(dict(zip(STAGES, told, strict=True)))
        return whole.replace("</CAPTION>", "") if number % 3 == 0 and len(messages) == 1 else whole


@dataclass
class Kills:
    """What was found: replies sent in all, those of them asked for more than once because a kill came first, and all
    faults, in words; `killed` counts the children that were killed before their end."""

    sent: int = 0
    repeated: int = 0
    killed: int = 0
    faults: list[str] = field(default_factory=list)


def kill_and_resume(folder: Path, rng: random.Random, *, kills: int, count: int, seconds: float = 0.02) -> Kills:
    """One run over `count` questions, killed up to `kills` times at random moments, then left to its end."""
    questions, out, found = folder / "questions.jsonl", folder / "out", Kills()
    write_jsonl(questions, [Question(id=f"q{n}", text=f"Which number has q{n}?", answer=str(n)) for n in range(count)])
    code, variables = [sys.executable, "-c", CHILD, str(questions), str(out)], environment()
    with Teacher(seconds) as teacher:
        for attempt in range(kills + 1):
            before, known = Counter(teacher.asked), received(out)
            child = subprocess.Popen([*code, teacher.url], env=variables, stdout=subprocess.PIPE, text=True)
            assert child.stdout is not None
            with child.stdout:
                child.stdout.readline()
                if attempt < kills:
                    # Anywhere between two replies, or in the middle of one.
                    enough = len(teacher.sent) + rng.randrange(1, max(2, 2 * count // kills))
                    while len(teacher.sent) < enough and child.poll() is None:
                        time.sleep(0.001)
                    time.sleep(rng.random() * seconds)
                    child.send_signal(signal.SIGKILL)
                found.killed += child.wait() == -signal.SIGKILL
            again = [serial for serial in known if teacher.asked[teacher.sent[serial]] > before[teacher.sent[serial]]]
            if again:
                found.faults.append(f"start {attempt} paid again for replies {again}, which it had received")
        found.sent, found.repeated = len(teacher.sent), len(teacher.sent) - len(teacher.asked)
        if child.returncode:
            found.faults.append(f"the last start ended with {child.returncode}")
        found.faults += faults_of_rows(out, count, teacher)
    return found


def received(out: Path) -> set[int]:
    """The serials of all replies that the ledger holds, read from a file that a killed process left."""
    path = out / "ledger.sqlite"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as database:
        try:
            replies = database.execute("SELECT reply FROM attempts WHERE state = 'replied'").fetchall()
        except sqlite3.OperationalError:  # killed before there were tables
            return set()
    return {int(serial) for (reply,) in replies for serial in re.findall(r"serial (\d+)", reply)}


def faults_of_rows(out: Path, count: int, teacher: Teacher) -> list[str]:
    """Rows lost, doubled or made up, and replies that the ledger and the teacher do not agree on."""
    faults = []
    rows = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    ids = [row["id"] for row in rows]
    if ids != [f"q{n}" for n in range(count)]:
        faults.append(f"rows lost, doubled or out of order: {ids}")
    with closing(sqlite3.connect(out / "ledger.sqlite")) as database:
        keys = database.execute("SELECT COUNT(*) FROM attempts WHERE state = 'replied'").fetchone()[0]
    if keys != len(teacher.asked) or len(received(out)) != keys:
        faults.append(f"the ledger has {keys} replies, the teacher was asked {len(teacher.asked)} different things")
    for row in rows:
        serials = re.findall(r"serial (\d+)", row["conversations"][1]["value"])
        if len(serials) != 1 or int(serials[0]) not in teacher.sent:
            faults.append(f"row {row['id']} is no reply of the teacher")
    return faults


def environment() -> dict[str, str]:
    """For a child that imports what this process does, and has no key."""
    keyless = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return keyless | {"PYTHONPATH": str(Path(stepsight.__file__).parent.parent)}
