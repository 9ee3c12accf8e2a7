"""A reward model's name becomes a reward model."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Literal

from stepsight.errors import InputError
from stepsight.rewards.endpoint import EndpointReward
from stepsight.rewards.process import KINDS, ProcessReward, RemoteChoice
from stepsight.tasks import finished

_VLLM = "vllm+"


def connect(
    name: str,
    *,
    python: str | None = None,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    trust_remote_code: bool = False,
    steps: Literal["mean", "last"] = "mean",
    batch: int = 8,
    timeout: float = 600.0,
    deadline: float = 1800.0,
) -> EndpointReward | ProcessReward:
    """The reward model called `name`, ready to be asked; blocks until it is.

    Its `aclose` lets go of the connections of the running event loop, as an engine's does, and it can be asked again;
    its `close` ends it, process and all. Dropping it, or the end of this process, ends it too.

    http://..., https://...             a scoring endpoint; see `stepsight.rewards.dialects`
    vllm+http://..., vllm+https://...   a server of vLLM with a sequence classifier of one class
    kind:model                          a hub id or folder, in a process of its own: classifier, ixc, visualprm

    Args:
        name: one of the above.
        python: the interpreter of that process; this one if None.
        revision: of a hub model.
        device: of that process: "auto", or as torch calls it.
        dtype: likewise.
        trust_remote_code: let that process run the code that comes with the model.
        steps: what the score of a process reward model is: the mean of its steps' probabilities, or the log-odds of
            the last step (which is what `RewardJudge(gather="product")` takes).
        batch: most answers in one request.
        timeout: seconds until a whole reply must be there.
        deadline: seconds until the model must be loaded.

    Raises:
        InputError: the name is of no known form, or an option does not fit it.
        ModelError: the model cannot be loaded, or nobody serves one there.
        EngineError: the endpoint does not answer.
    """
    address = name.removeprefix(_VLLM)
    if address.lower().startswith(("http://", "https://")):
        if python or revision or trust_remote_code or (device, dtype, steps) != ("auto", "auto", "mean"):
            raise InputError(
                "python, revision, device, dtype, steps and trust_remote_code are for models that run here",
                hint="give them to the endpoint instead",
            )
        dialect: Literal["stepsight", "vllm"] = "vllm" if name != address else "stepsight"
        return finished(_reached(EndpointReward(address, dialect=dialect, batch=batch, timeout=timeout)))
    kind, colon, model = name.partition(":")
    if not colon or not model.strip() or kind not in KINDS:
        near = get_close_matches(kind.lower(), KINDS, n=1)
        forms = f"kind:model with a kind of {', '.join(KINDS)}; or the address of an endpoint, http://..."
        hint = f"did you mean {near[0]}:{model or 'owner/model'}?" if near and (near[0] != kind or not model) else forms
        raise InputError(f"there is no reward model {name!r}", hint=hint)
    choice = RemoteChoice(
        kind, model, python or "", revision, device, dtype, trust_remote_code, steps=steps, deadline=deadline
    )
    return ProcessReward(choice, batch=batch, timeout=timeout)


async def _reached(endpoint: EndpointReward) -> EndpointReward:
    try:
        return await endpoint.connect()
    finally:
        await endpoint.aclose()
