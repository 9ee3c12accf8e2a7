"""`python -m stepsight.testing`: the fake server by hand, until Ctrl-C.

python -m stepsight.testing --port 8000 --fault 429 --retry-after 3 --every 4
stepsight ask photo.jpg "What is this?" --server http://127.0.0.1:8000/v1
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count

from stepsight.testing.manners import Fault, Manners
from stepsight.testing.server import FakeServer

_FAULTS = ("none", "429", "500", "cut", "slow", "truncated")


def options() -> argparse.ArgumentParser:
    """What may be asked of the server."""
    parser = argparse.ArgumentParser(
        prog="python -m stepsight.testing",
        description="Serve scripted staged answers over OpenAI's chat protocol, with chosen manners and faults.",
    )
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--key", default="", help="lock out whoever does not send it")
    parser.add_argument("--n", type=int, default=99, help="the most choices given for one request")
    parser.add_argument("--stops", choices=("included", "named", "cut", "ignored"), default="included")
    parser.add_argument("--streams", choices=("whole", "unbilled", "never"), default="whole")
    parser.add_argument("--no-prefix", action="store_true", help="do not continue an assistant's message")
    parser.add_argument("--no-images", action="store_true", help="refuse pictures")
    parser.add_argument("--logprobs", type=int, default=20, help="likely tokens that are listed; 0: none")
    parser.add_argument("--fault", choices=_FAULTS, default="none", help="what goes wrong with some requests")
    parser.add_argument("--every", type=int, default=3, help="with every how manieth request it does")
    parser.add_argument("--retry-after", default="1", help="what a 429 asks to wait")
    parser.add_argument("--seconds", type=float, default=5.0, help="how slow `slow` is, to its first byte")
    parser.add_argument("--bytes", type=int, default=100, help="after how many bytes `cut` cuts")
    return parser


def faults(given: argparse.Namespace) -> Iterator[Fault]:
    """The fault of each request, without end."""
    kinds = {
        "none": Fault(),
        "429": Fault(429, "too many requests", {"Retry-After": given.retry_after}),
        "500": Fault(500, "internal error"),
        "cut": Fault(cut=given.bytes),
        "slow": Fault(wait=given.seconds),
        "truncated": Fault(truncated=True),
    }
    for number in count(1):
        yield kinds[given.fault] if number % max(1, given.every) == 0 else Fault()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    given = options().parse_args(arguments)
    manners = Manners(
        prefix=not given.no_prefix,
        images=not given.no_images,
        n=given.n,
        stops=given.stops,
        logprobs=given.logprobs,
        streams=given.streams,
        key=given.key,
    )
    with FakeServer(manners, faults(given), port=given.port) as server, suppress(KeyboardInterrupt):
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
