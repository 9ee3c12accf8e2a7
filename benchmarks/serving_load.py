"""Many clients at once: is every answer its asker's own, does memory stay, do clients that go away free their rows?

Each client sends pictures of colours of its own to a model whose answers carry that colour; some read a stream, some
wait for the whole, and some hang up in the middle.

    python benchmarks/serving_load.py --clients 200 --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx2

from stepsight.testing.processes import MARKED, Served, messages, png, served, until

PAUSE = 0.02


@dataclass
class Books:
    """What the clients saw."""

    right: int = 0
    mixed: int = 0
    hung_up: int = 0
    others: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)


async def client(number: int, server: Served, until_: float, books: Books, share: float) -> None:
    """Ask one question after the other until time is up."""
    rng = random.Random(number)
    async with httpx2.AsyncClient(timeout=300, trust_env=False) as http:
        while time.monotonic() < until_:
            colour = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
            mark = f"#{colour[0]:02x}{colour[1]:02x}{colour[2]:02x}"
            body = {"model": "marked@stage-beam:4", "messages": messages(png(colour)), "stream": rng.random() < 0.5}
            leaves = rng.random() < share
            started = time.perf_counter()
            try:
                async with asyncio.timeout(rng.uniform(0.0, 6 * PAUSE) if leaves else None):
                    said = await ask(http, server, body)
            except TimeoutError:
                books.hung_up += 1
            except httpx2.HTTPError as error:
                books.others[type(error).__name__] += 1
            else:
                books.seconds.append(time.perf_counter() - started)
                if said == mark:
                    books.right += 1
                elif said.startswith("#"):
                    books.mixed += 1
                else:
                    books.others[said] += 1


async def ask(http: httpx2.AsyncClient, server: Served, body: dict[str, object]) -> str:
    """The content of the answer, or its status."""
    async with http.stream("POST", f"{server.url}/chat/completions", json=body) as reply:
        data = (await reply.aread()).decode()
    if reply.status_code != 200:
        return str(reply.status_code)
    if not body["stream"]:
        return str(json.loads(data)["choices"][0]["message"]["content"])
    chunks = [json.loads(line[6:]) for line in data.split("\n\n") if line.startswith("data: {")]
    if not data.endswith("data: [DONE]\n\n") or any("error" in chunk for chunk in chunks):
        return "a stream that broke off"
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


async def watch(server: Served, until_: float, books: Books) -> None:
    """Look at the server's memory ten times."""
    pause = (until_ - time.monotonic()) / 10
    while time.monotonic() < until_:
        books.resident.append(await asyncio.to_thread(server.book, "resident"))
        await asyncio.sleep(pause)


async def load(server: Served, clients: int, seconds: float, share: float) -> Books:
    """All clients at once."""
    books, end = Books(), time.monotonic() + seconds
    asking = (client(number, server, end, books, share) for number in range(clients))
    await asyncio.gather(watch(server, end, books), *asking)
    return books


def main() -> None:
    """Run, and print what came of it; the exit code says whether it was as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--hang-up", type=float, default=0.1, help="share of requests whose client goes away")
    given = parser.parse_args()
    queue = ("--max-searches", "64", "--max-queue", str(given.clients), "--queue-seconds", "300")
    with served(MARKED, *queue, "--log-level", "error", env={"MARKED_PAUSE": str(PAUSE)}) as server:
        # What is loaded late is loaded now, so that growth is growth.
        asyncio.run(load(server, min(given.clients, 32), min(5.0, given.seconds), given.hang_up))
        worked = server.book("cpu")
        books = asyncio.run(load(server, given.clients, given.seconds, given.hang_up))
        worked = server.book("cpu") - worked
        freed = until(lambda: server.book("rows") == 0, 10)
        after = server.book("resident")
        cancelled = server.metric('stepsight_searches_total{ended="cancelled",search="stage-beam"}')
    early = statistics.median(books.resident[:3])
    late = statistics.median([*books.resident[-2:], after])
    quick = statistics.quantiles(books.seconds, n=20) if len(books.seconds) > 1 else [0.0] * 19
    found = {
        "clients": given.clients,
        "seconds": given.seconds,
        "answers": books.right,
        "answers_a_second": round(books.right / given.seconds, 1),
        "server_cpu_ms_an_answer": round(1000 * worked / max(1, books.right), 1),
        "mixed": books.mixed,
        "lost": dict(books.others),
        "hung_up": books.hung_up,
        "searches_cancelled": int(cancelled),
        "rows_freed": freed,
        "median_seconds": round(quick[9], 3),
        "p95_seconds": round(quick[18], 3),
        "resident_mb": [round(one / 1e6, 1) for one in (*books.resident, after)],
        "growth": round(late / early - 1, 3),
    }
    print(json.dumps(found, indent=2))
    sound = books.right > 0 and not books.mixed and not books.others and freed and late / early < 1.1
    raise SystemExit(0 if sound else 1)


if __name__ == "__main__":
    main()
