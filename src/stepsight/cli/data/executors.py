"""Who asks the teacher in a build: this process, or workers on the nodes of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepsight.assembly import LoadedModel
    from stepsight.cli.data.build_options import BuildPlan
    from stepsight.engines.openai import OpenAIEngine, ProbeReport
    from stepsight.protocols import Engine


@contextmanager
def executing(plan: BuildPlan, teacher: LoadedModel) -> Iterator[tuple[AbstractAsyncContextManager[Engine], BuildPlan]]:
    """The engine that a build asks, inside its own block, and the plan: its window is that of each worker.

    Raises:
        InputError: the teacher is not behind a server.
        EngineError: there is no such cluster.
    """
    if plan.executor == "local":
        yield nullcontext(teacher.engine), plan
        return
    from stepsight.data.cluster import joined, leased, places
    from stepsight.engines.openai import OpenAIEngine
    from stepsight.errors import InputError

    engine = teacher.engine
    if not isinstance(engine, OpenAIEngine):
        raise InputError("--executor ray asks a server", hint="name one with --server")
    server = engine.server
    # Probed once, here: each probe costs a dozen requests, which no ledger sees. The key stays here too.
    make = partial(served, server.url, server.model, server.timeout, engine.report, server.key.source)
    with joined() as nodes:
        stands = places(nodes, plan.workers)
        recipe = plan.recipe.model_copy(update={"window": plan.recipe.window * len(stands)})
        yield leased(engine.name, engine.capabilities, make, stands), replace(plan, recipe=recipe)


def served(url: str, model: str, timeout: float, report: ProbeReport, variable: str) -> OpenAIEngine:
    """A worker's engine. The key comes from the environment of its own node; `variable` held it where the run began.

    Raises:
        InputError: there is no key here, and there was one there.
    """
    from stepsight.engines.openai import OpenAIEngine, Server
    from stepsight.engines.openai.address import Key
    from stepsight.errors import InputError

    key = Key.from_environment(url)
    if variable and not key.source:
        raise InputError(f"{variable} is not set", hint="set it where `ray start` is run, on every node")
    return OpenAIEngine(Server(url, model, key, timeout), report)
