"""What `stepsight doctor` does: look at the machine, at the model's configuration, at the room, and run the model.

Each step that fails is a problem in the diagnosis, not an exception; what does not depend on it still comes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from PIL import Image, ImageOps

from stepsight.assembly import ModelChoice
from stepsight.errors import StepsightError
from stepsight.findings import Diagnosis, Machine, Memory, Model, Problem, Room, SelfCheck, Shape, Torch
from stepsight.machine import look_at_machine
from stepsight.model_folders import ModelCard, read_card, resolve_model

_GIGABYTE = 2**30


def diagnose(choice: ModelChoice, *, check: bool = True, tell: Callable[[str], None] = lambda what: None) -> Diagnosis:
    """Look at everything that decides whether a model runs here, and how.

    Args:
        choice: the model, and how to load it.
        check: whether to load the model and compare the engine with the library.
        tell: is told what is being done.
    """
    problems: list[Problem] = []

    # 1. The machine: no model, no torch.
    machine = look_at_machine()

    # 2. The model by name and card.
    model = Model(name=choice.name, source=choice.name, revision=choice.revision)
    try:
        source = resolve_model(choice.name)
        model = model.model_copy(update={"source": source})
        card = read_card(Path(source)) if Path(source).is_dir() else ModelCard(name=source)
        model = model.model_copy(update={"judge_prompts": card.judge_prompts, "note": card.note})
        named = True
    except StepsightError as error:
        problems.append(_of(error))
        named = False

    # 3. What torch sees.
    tell("importing torch")
    try:
        from stepsight.engines.transformers.examining import look_at_torch, shape_of
        from stepsight.engines.transformers.placing import check_placement

        torch = look_at_torch(choice.threads)
    except StepsightError as error:
        return Diagnosis(machine=machine, model=model, problems=(*problems, _of(error)))
    if not named:
        return Diagnosis(machine=machine, torch=torch, model=model, problems=tuple(problems))

    # 4. What the configuration says, and whether there is room.
    try:
        shape = shape_of(source, choice.placement, revision=choice.revision, trust_remote_code=choice.trust_remote_code)
    except StepsightError as error:
        problems.append(_of(error))
        return Diagnosis(machine=machine, torch=torch, model=model, problems=tuple(problems))
    room = room_of(shape, *_memory(shape, machine, torch), cache_gb=choice.cache_gb, max_rows=choice.max_rows)
    model = model.model_copy(update={"shape": shape, "room": room})
    problems += [*_of_shape(shape, machine), *_of_room(room)]
    try:
        check_placement(choice.placement)
    except StepsightError as error:
        problems.append(_of(error))

    # 5. The model itself, unless it is refused or would fill the memory.
    if check and not any(problem.serious for problem in problems):
        tell(f"loading and running {choice.name}")
        try:
            seconds, checked = _run(source, choice)
        except StepsightError as error:
            problems.append(_of(error))
        else:
            model = model.model_copy(update={"loading_seconds": seconds, "check": checked})
            problems += _of_check(checked)
    return Diagnosis(machine=machine, torch=torch, model=model, problems=tuple(problems))


def room_of(shape: Shape, where: str, memory: Memory, *, cache_gb: float, max_rows: int) -> Room | None:
    """Whether weights, cache and the rows of a full batch fit; None where the sizes are not known.

    The last is an upper bound: each row with as many tokens as the model has positions. Three quarters of the cache
    are for key-values, one quarter is for pictures. What a forward pass itself needs is not counted.
    """
    if shape.weights is None or shape.token is None or shape.context is None:
        return None
    cache = int(cache_gb * _GIGABYTE)
    row = shape.token * shape.context
    rest = None if memory.free is None else memory.free - shape.weights - cache
    room = Room(
        where=where,
        memory=memory,
        weights=shape.weights,
        cache=cache,
        cache_tokens=(cache - cache // 4) // shape.token,
        max_rows=max_rows,
        rows=row * max_rows,
        rows_at_full_context=None if rest is None else max(0, rest // row),
        fits="unknown",
    )
    if memory.free is None:
        return room
    fits = "no" if shape.weights > memory.free else "yes" if room.needed <= memory.free else "not all rows"
    return room.model_copy(update={"fits": fits})


def _memory(shape: Shape, machine: Machine, torch: Torch) -> tuple[str, Memory]:
    """Where the model will be, and what memory there is."""
    device = shape.device.value
    mapped = device == "as mapped"
    for accelerator in torch.accelerators:
        if mapped or device in (accelerator.device, accelerator.device.split(":")[0]):
            return accelerator.device, accelerator.memory
    return "cpu" if mapped else device, machine.memory


def _run(source: str, choice: ModelChoice) -> tuple[float, SelfCheck]:
    from stepsight.engines.transformers.selfcheck import check_model

    bundled = Path(str(files("stepsight") / "examples" / "tabletop.png"))
    with tempfile.TemporaryDirectory(prefix="stepsight-") as folder:
        negative = Path(folder) / "negative.png"
        with Image.open(bundled) as opened:
            ImageOps.invert(opened.convert("RGB")).save(negative)
        return check_model(
            source,
            choice.placement,
            (bundled, negative),
            revision=choice.revision,
            trust_remote_code=choice.trust_remote_code,
            cache_gb=choice.cache_gb,
            max_rows=choice.max_rows,
            threads=choice.threads,
            rows_gb=choice.rows_gb,
            shared_prefix=choice.shared_prefix,
            draft_tokens=choice.draft_tokens,
        )


def _of(error: StepsightError) -> Problem:
    """An error as a problem; a hint is told apart from the message again."""
    return Problem(what=str(error.args[0]), next=error.hint or "see docs/models.md", serious=True)


def _of_shape(shape: Shape, machine: Machine) -> list[Problem]:
    problems = []
    if not shape.proven:
        problems.append(Problem(what=shape.reason, next=shape.instead, serious=True))
    if shape.device.value == "cpu" and shape.dtype.value == "bfloat16" and machine.cpu.bf16 is False:
        problems.append(
            Problem(
                what="this processor has no bfloat16 instructions, so bfloat16 weights are slow here",
                next="with --dtype float32 it is faster and takes twice the memory",
            )
        )
    x86 = "avx2" in machine.cpu.flags
    if (
        shape.device.value == "cpu"
        and shape.dtype.value == "float16"
        and x86
        and "avx512_fp16" not in machine.cpu.flags
    ):
        better = "bfloat16" if machine.cpu.bf16 else "float32"
        problems.append(
            Problem(
                what="this processor has no float16 instructions, so float16 weights are slow here",
                next=f"try --dtype {better}",
            )
        )
    return problems


def _of_room(room: Room | None) -> list[Problem]:
    if room is None or room.fits in ("yes", "unknown"):
        return []
    free = (room.memory.free or 0) / _GIGABYTE
    if room.fits == "no":
        return [
            Problem(
                what=f"the weights take {room.weights / _GIGABYTE:.1f} GiB and {room.where} has {free:.1f} GiB free",
                next="free some memory, load with --dtype bfloat16 or --quantize 4bit, or choose a smaller model",
                serious=True,
            )
        ]
    fitting = room.rows_at_full_context or 0
    return [
        Problem(
            what=f"{room.max_rows} rows at full context, the cache and the weights would take "
            f"{room.needed / _GIGABYTE:.1f} GiB of {free:.1f} GiB free on {room.where}",
            next="rows beyond --rows-gb wait for their turn; "
            + (f"with --max-rows {fitting} none has to" if fitting else "a smaller --cache-gb leaves them more"),
        )
    ]


def _of_check(check: SelfCheck) -> list[Problem]:
    problems = []
    ask = "report it with the output of this command and --json; do not trust answers of this model until then"
    if not check.pictures_differ:
        problems.append(
            Problem(
                what="two different pictures give the same scores: one is taken for the other", next=ask, serious=True
            )
        )
    if check.error > check.rounding:
        problems.append(
            Problem(
                what=f"scores are {check.error:.3g} nats off those of a full forward pass, and rounding explains "
                f"{check.rounding:.3g}",
                next=ask,
                serious=True,
            )
        )
    if not check.tokens_equal and (check.gap is None or abs(check.gap) > check.rounding):
        problems.append(
            Problem(
                what=f"greedy decoding leaves the library's at token {check.differs_at}, and not by rounding",
                next=ask,
                serious=True,
            )
        )
    return problems
