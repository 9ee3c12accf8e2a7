"""A diagnosis in the terminal: what was found, what was chosen and why; problems come last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from stepsight.findings import Diagnosis, Machine, Memory, Model, Problem, Room, SelfCheck, Shape, Torch
from stepsight.reports.terminal import Line, print_lines

Row = tuple[str, str, str]
"""Name, value, reason."""

_NAMES = 18


def print_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """Print all that was found, in sections, then the problems with what to do next."""
    sections = [("machine", _machine(diagnosis.machine)), ("torch", _torch(diagnosis.torch))]
    model = diagnosis.model
    sections.append(("model", _model(model)))
    if model.room is not None:
        sections.append(("memory", _room(model.room, model.shape)))
    if model.check is not None:
        sections.append(("self-check", _check(model.check, model.loading_seconds)))
    for title, rows in sections:
        print_lines(console, [Line(Text(title, style="bold cyan")), *map(_line, rows), Line(Text())])
    print_lines(console, problem_lines(diagnosis.problems))


def size(number: int | None) -> str:
    """Bytes in the largest binary unit that leaves at least one; `unknown` for None."""
    if number is None:
        return "unknown"
    for unit, bytes_of in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= bytes_of:
            return f"{number / bytes_of:.1f} {unit}"
    return f"{number} B"


def _line(row: Row) -> Line:
    name, value, why = row
    text = Text.assemble((f"{name:<{_NAMES}}", "dim"), value)
    if why:
        text.append(f"  ({why})", style="dim")
    return Line(text, 2)


def _machine(machine: Machine) -> Iterator[Row]:
    yield "system", machine.system, f"Python {machine.python}"
    yield "packages", ", ".join(f"{name} {found}" for name, found in machine.packages.items() if found), ""
    missing = ", ".join(name for name, found in machine.packages.items() if not found)
    if missing:
        yield "not installed", missing, ""
    yield "processor", machine.cpu.name, f"{machine.cpu.cores or 'unknown'} cores for this process"
    bf16 = {True: "has bfloat16 instructions", False: "no bfloat16 instructions", None: ""}[machine.cpu.bf16]
    yield "instructions", " ".join(machine.cpu.flags) or "unknown", bf16
    yield "memory", _memory(machine.memory), ""


def _torch(torch: Torch | None) -> Iterator[Row]:
    if torch is None:
        yield "torch", "not to be had", "see below"
        return
    yield "threads", str(torch.threads), "inside one operation"
    for accelerator in torch.accelerators:
        yield accelerator.device, accelerator.name, _memory(accelerator.memory)
    if not torch.accelerators:
        yield "accelerators", "none", torch.why_none.removeprefix("no accelerator: ")


def _model(model: Model) -> Iterator[Row]:
    yield "name", model.name, "" if model.source == model.name else model.source
    if model.revision is not None:
        yield "revision", model.revision, ""
    if model.judge_prompts is not None:
        yield "judge prompts", model.judge_prompts, "from its card, or the default"
    if model.note:
        yield "note", model.note, ""
    shape = model.shape
    if shape is None:
        return
    inside = f"language {shape.language}, vision {shape.vision}"
    yield "family", f"{shape.family}, {'proven' if shape.proven else 'refused'}", inside
    for name, chosen in (("device", shape.device), ("dtype", shape.dtype), ("attention", shape.attention)):
        yield name, chosen.value, chosen.why
    if shape.quantize.value != "none" or shape.quantize.why:
        yield "quantised", shape.quantize.value, shape.quantize.why
    yield "parameters", "unknown" if shape.parameters is None else f"{shape.parameters:,}", ""
    yield "weights", size(shape.weights), ""
    yield "context", "unknown" if shape.context is None else f"{shape.context:,} tokens", ""
    yield "key-values", size(shape.token), "for one token"


def _room(room: Room, shape: Shape | None) -> Iterator[Row]:
    context = None if shape is None else shape.context
    yield "there is", _memory(room.memory), room.where
    yield "weights", size(room.weights), ""
    if room.packed:
        yield "weights again", size(room.packed), "a copy laid out for the processor"
    yield "--cache-gb", size(room.cache), f"three quarters hold the key-values of {room.cache_tokens:,} tokens"
    yield "--max-rows", f"{room.max_rows} take {size(room.rows)}", f"at most, each {context:,} tokens long"
    rows = f"no: {room.rows_at_full_context} rows at full context"
    yield "fits", rows if room.fits == "not all rows" else room.fits, f"{size(room.needed)} in all at most"


def _check(check: SelfCheck, loading: float | None) -> Iterator[Row]:
    if loading is not None:
        yield "loading", f"{loading:.1f} s", ""
    if check.tokens_equal:
        equal = "yes"
    elif check.gap is not None and abs(check.gap) <= check.rounding:
        equal = f"yes up to token {check.differs_at}; there two are {abs(check.gap):.2g} nats apart, which is rounding"
    else:
        equal = f"no, from token {check.differs_at} on"
    yield "tokens equal", equal, f"{check.tokens} greedy tokens; {check.reused} prompt tokens came from the cache"
    apart = "yes" if check.pictures_differ else "no"
    yield "pictures apart", apart, "another picture under the same text gives other scores"
    yield "scores off by", f"{check.error:.2g} nats", f"rounding explains {check.rounding:.2g}"
    yield "decoding", f"{check.engine_seconds:.2f} s", f"the library's generate: {check.library_seconds:.2f} s"


def problem_lines(problems: Sequence[Problem]) -> Iterator[Line]:
    """Each problem with what to do next; a line that says so if there is none."""
    if not problems:
        yield Line(Text("no problems", style="bold green"))
    for problem in problems:
        word, style = ("problem", "bold red") if problem.serious else ("warning", "bold yellow")
        yield Line(Text.assemble((f"{word}: ", style), problem.what))
        yield Line(Text(problem.next), 4)


def _memory(memory: Memory) -> str:
    if memory.total is None:
        return "unknown"
    return f"{size(memory.free)} free of {size(memory.total)}"
