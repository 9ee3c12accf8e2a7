"""A plan of a training run in the terminal: what it takes, what that rests on, what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from stepsight.reports.doctor import problem_lines, size
from stepsight.reports.terminal import Line, print_lines
from stepsight.training.plan.records import DeviceMemory, Plan

_NAMES = 18
_COLUMN = 24


def print_plan(console: Console, plan: Plan) -> None:
    """Print a plan in sections, then what it assumes, then its problems with what to do next."""
    sections = (
        ("model", _model(plan)),
        ("rows", _rows(plan)),
        ("run", _run(plan)),
        (f"memory of a device: {plan.target.title}", _memory(plan)),
        ("time", _time(plan)),
    )
    for title, lines in sections:
        print_lines(console, [Line(Text(title, style="bold cyan")), *lines, Line(Text())])
    print_lines(console, [Line(Text("assumed", style="bold cyan"))])
    print_lines(console, (Line(Text(f"- {said}"), 2) for said in plan.assumptions))
    print_lines(console, [Line(Text()), *problem_lines(plan.problems)])


def _row(name: str, *values: str, why: str = "") -> Line:
    cells = "".join(f"{value:<{_COLUMN}}" for value in values[:-1]) + values[-1]
    text = Text.assemble((f"{name:<{_NAMES}}", "dim"), cells)
    if why:
        text.append(f"  ({why})", style="dim")
    return Line(text, 2)


def _model(plan: Plan) -> Iterator[Line]:
    yield _row("from", plan.model)
    for part in plan.parts:
        learns = "all learn" if part.trained == part.parameters else f"{part.trained:,} learn"
        yield _row(part.name, f"{part.parameters:,}", why=learns if part.trained else "frozen")
    total, trained = sum(part.parameters for part in plan.parts), sum(part.trained for part in plan.parts)
    yield _row("parameters", f"{total:,}", why=f"{trained:,} learn, {trained / total:.2%}")


def _rows(plan: Plan) -> Iterator[Line]:
    lengths = plan.lengths
    known = f"measured: {lengths.source}" if lengths.measured else f"assumed, see below: {lengths.source}"
    yield _row("rows", "drawn as they are needed" if lengths.rows is None else f"{lengths.rows:,}", why=known)
    yield _row("tokens", f"{lengths.tokens:,.0f} on average", why=f"{lengths.padded:,.0f} with padding")
    yield _row("that count", f"{lengths.learned:,.0f} on average")
    yield _row("longest", f"{lengths.longest:,}")


def _run(plan: Plan) -> Iterator[Line]:
    turns = f"{plan.turns} turn" if plan.turns == 1 else f"{plan.turns} turns"
    many = f"{plan.devices} device" if plan.devices == 1 else f"{plan.devices} devices"
    yield _row("batch", f"{plan.batch} rows", why=f"{plan.rows_per_turn} a device at once, {many}, {turns}")
    epochs = "" if plan.epochs is None else f", {plan.epochs:.3g} epochs"
    yield _row("steps", f"{plan.steps:,}{epochs}", why=f"warm-up over {plan.warmup:,}")
    yield _row("tokens of a step", f"{plan.tokens_per_step:,}", why=f"{plan.learned_per_step:,} count")
    yield _row("tokens in all", f"{plan.tokens:,}", why=f"{plan.learned:,} count")
    yield _row("numbers", plan.precision)
    yield _row("sharding", plan.sharding)
    yield _row("command", plan.launch)


def _memory(plan: Plan) -> Iterator[Line]:
    columns = plan.memory
    yield _row("rows", *(f"{one.rows} of {one.length:,} tokens" for one in columns))
    yield _row("checkpointing", *("on" if one.checkpointing else "off" for one in columns))
    for name in ("weights", "gradients", "optimiser", "gathered", "activations"):
        if any(getattr(one, name) for one in columns):
            yield _row(name, *(size(getattr(one, name)) for one in columns))
    yield _row("together", *(size(one.total) for one in columns))
    if any(one.reserve for one in columns):
        yield _row("set aside", *(size(one.reserve) for one in columns))
    yield _row("of", *(_fits(one, plan.target.memory) for one in columns))
    kept = ", ".join(f"{name} {size(count)}" for name, count in plan.kept.items() if count >= 2**20)
    yield _row("kept by part", kept or "under 1 MiB", why="first column, when the backward pass begins")


def _fits(memory: DeviceMemory, there: int | None) -> str:
    if there is None:
        return "unknown"
    return f"{size(there)}: {'fits' if memory.total + memory.reserve <= there else 'does not fit'}"


def _time(plan: Plan) -> Iterator[Line]:
    compute = plan.compute
    forward = sum(compute.forward.values())
    shares = ", ".join(f"{name} {count / forward:.0%}" for name, count in compute.forward.items() if count)
    yield _row(
        "operations", f"{compute.operations:.3g} a step", why=f"{compute.formula:.3g} by 6 x parameters x tokens"
    )
    yield _row("forward pass", f"{forward:.3g}", why=shares)
    yield _row("step", f"{compute.seconds:.3g} s", why=compute.how)
    yield _row("all steps", _duration(compute.hours), why=f"{plan.devices * compute.hours:.3g} device hours")


def _duration(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
