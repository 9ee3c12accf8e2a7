"""What can this server do? A dozen small requests, at start-up, before any work is trusted to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from random import Random

from PIL import Image, ImageDraw

from stepsight.engines.openai.address import Key, checked_url
from stepsight.engines.openai.engine import OpenAIEngine
from stepsight.engines.openai.findings import Ability, Finding, ProbeReport
from stepsight.engines.openai.link import Link, Server
from stepsight.engines.openai.listing import chosen_model, listed_models
from stepsight.engines.openai.messages import picture_url, user_message
from stepsight.engines.openai.replies import text_of
from stepsight.engines.openai.retrying import Backoff
from stepsight.engines.openai.trials import QUESTION, WRITTEN, Trials
from stepsight.errors import EngineError
from stepsight.tasks import finished

PROBING = Backoff(attempts=2, cap=2.0, patience=20.0)
"""A probe is watched by somebody who waits."""


async def probe(link: Link, *, context_limit: int | None = None, seeds: bool = False) -> ProbeReport:
    """Try what the engine would like to use, and report what was seen.

    Nothing here loads a server more than one short request at a time does. Seeds are tried only if `seeds`, and last:
    a seed per request ends the whole engine of some servers (of vLLM on CPUs and its relatives, with "CPU Generator
    does not use offset"), and afterwards the server is looked at.

    Args:
        link: connections to the server, with the model to ask for.
        context_limit: what the model list said.
        seeds: whether the server may be asked for seeds.

    Raises:
        StepsightError: the server does not answer even a plain question, or no longer does so after the seeds.
    """
    server = link.server
    trials, written = await _plain(Trials(link, server.model))
    prefix = await trials.continues(written)
    honoured, included, named = await trials.stops(written)
    logprobs, labels, count = await trials.logprobs()
    untempered = await trials.untempered(count) if count else Finding(value=Ability.NO, evidence="no log-probabilities")
    urls = probe_pictures(Random())
    images, apart, cache = await trials.pictures(urls, count)
    streams = await trials.streams(written)
    grammar, grammar_key = await trials.grammar(written)
    choices = await trials.choices(urls[:1] if images.yes else ())
    seeded = await trials.seeds() if seeds else Finding(value=Ability.UNKNOWN, evidence="not tried; not asked for")
    told = "not told" if context_limit is None else f"{context_limit} tokens"
    return ProbeReport(
        url=server.url,
        model=server.model,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        prefix=prefix,
        images=images,
        pictures_told_apart=apart,
        n=choices,
        stop_honoured=honoured,
        stop_included=included,
        stop_named=named,
        logprobs=logprobs,
        labels=labels,
        untempered=untempered,
        cache=cache,
        context=Finding(value=Ability.UNKNOWN if context_limit is None else Ability.YES, evidence=told),
        seeds=seeded,
        streams=streams,
        grammar=grammar,
        grammar_key=grammar_key,
        length_key=trials.length_key,
        context_limit=context_limit,
        top_logprobs=count,
        requests=link.sent,
    )


def probe_pictures(rng: Random) -> tuple[str, str]:
    """A red and a blue picture, each with a spot of its own that no earlier probe can have left in a cache."""

    def drawn(colour: str) -> str:
        picture = Image.new("RGB", (224, 224), colour)
        spot = tuple(rng.randrange(256) for _ in range(3))
        ImageDraw.Draw(picture).rectangle((0, 0, 13, 13), fill=spot)
        return picture_url(picture)

    return drawn("red"), drawn("blue")


async def connect(
    url: str, model: str = "", *, default: str = "", seeds: bool = False, key: Key | None = None, timeout: float = 600.0
) -> OpenAIEngine:
    """Look up the model, probe the server, and return an engine for it; close the engine when done.

    Args:
        url: the base URL, such as `http://localhost:8000/v1`.
        model: the server's id of the model; empty: the only one it has.
        default: a name that means the same as an empty one, unless the server offers it.
        seeds: whether the server may be asked for seeds; see `probe`.
        key: for tests; otherwise from the environment.
        timeout: seconds that a reply may take.

    Raises:
        StepsightError: an address that is none, no server there, a wrong key, no such model.
    """
    where = checked_url(url)
    server = Server(where, model, Key.from_environment(where) if key is None else key, timeout)
    link = Link(replace(server, backoff=PROBING, timeout=min(timeout, 120.0)))
    try:
        listed = await listed_models(link)
        server = replace(server, model=chosen_model(model, listed, server.url, default=default))
        link.server = replace(link.server, model=server.model)
        report = await probe(link, context_limit=listed.get(server.model), seeds=seeds)
    finally:
        await link.aclose()
    return OpenAIEngine(server, report)


def connected(url: str, model: str = "", *, default: str = "", seeds: bool = False) -> OpenAIEngine:
    """`connect` for code that is not async; works inside a running event loop too."""
    return finished(connect(url, model, default=default, seeds=seeds))


def probe_server(url: str, model: str = "", *, seeds: bool = False) -> ProbeReport:
    """Probe a server; arguments and errors are those of `connect`."""
    return connected(url, model, seeds=seeds).report


async def _plain(trials: Trials) -> tuple[Trials, str]:
    """A plain question must be answered. OpenAI's newer models want the limit of tokens under another name."""
    try:
        return trials, text_of(await trials.write([user_message(QUESTION)], WRITTEN))
    except EngineError as error:
        if "max_completion_tokens" not in str(error):
            raise
    renamed = replace(trials, length_key="max_completion_tokens")
    return renamed, text_of(await renamed.write([user_message(QUESTION)], WRITTEN))
