"""A diagnosis printed: every fact on its line, problems last."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console
from tests.test_diagnosis import GOOD, shape_with

from stepsight.diagnosis import room_of
from stepsight.findings import Accelerator, Chosen, Cpu, Diagnosis, Machine, Memory, Model, Problem, Torch
from stepsight.reports.doctor import print_diagnosis, size

GIB = 2**30
MACHINE = Machine(
    packages={"torch": "2.13.0", "bitsandbytes": None},
    python="3.11.9",
    system="Linux-6",
    cpu=Cpu(name="Fast 9000", cores=8, flags=("avx2", "amx_bf16"), bf16=True),
    memory=Memory(total=16 * GIB, free=8 * GIB),
)
CARD = Accelerator(device="cuda:0", name="Card", memory=Memory(total=24 * GIB, free=20 * GIB))


def printed(diagnosis: Diagnosis, *, width: int = 80, terminal: bool = False) -> str:
    stream = StringIO()
    print_diagnosis(Console(file=stream, width=width, force_terminal=terminal, highlight=False), diagnosis)
    return stream.getvalue()


def model_with(**changes: object) -> Model:
    shape = shape_with(device=Chosen(value="cuda", why="the first accelerator"))
    room = room_of(shape, "cuda:0", CARD.memory, cache_gb=1.0, max_rows=4)
    model = Model(
        name="owner/model", source="owner/model", revision="v1", judge_prompts="paper-1", shape=shape, room=room
    )
    return model.model_copy(update=changes)


def test_everything_found_is_there() -> None:
    torch = Torch(threads=4, accelerators=(CARD,))
    out = printed(Diagnosis(machine=MACHINE, torch=torch, model=model_with(check=GOOD, loading_seconds=1.5)))
    for fact in (
        "Python 3.11.9",
        "torch 2.13.0",
        "not installed     bitsandbytes",
        "Fast 9000  (8 cores for this process)",
        "avx2 amx_bf16  (has bfloat16 instructions)",
        "8.0 GiB free of 16.0 GiB",
        "cuda:0            Card  (20.0 GiB free of 24.0 GiB)",
        "revision          v1",
        "judge prompts     paper-1",
        "llava, proven  (language llama, vision clip_vision_model)",
        "cuda  (the first accelerator)",
        "268,435,456",
        "weights           1.0 GiB",
        "1,024 tokens",
        "1.0 KiB  (for one token)",
        "786,432 tokens",
        "4 take 4.0 MiB",
        "fits              yes",
        "tokens equal      yes",
        "pictures apart    yes",
        "loading           1.5 s",
    ):
        assert fact in out, fact
    assert out.rstrip().endswith("no problems")
    assert "\x1b[" not in out


def test_problems_come_last_with_what_to_do_next() -> None:
    problems = (Problem(what="it is slow", next="wait"), Problem(what="it broke", next="mend it", serious=True))
    diagnosis = Diagnosis(
        machine=MACHINE, torch=Torch(threads=1, why_none="no accelerator: none built"), model=model_with()
    )
    out = printed(diagnosis.model_copy(update={"problems": problems}))
    assert out.endswith("warning: it is slow\n    wait\nproblem: it broke\n    mend it\n")
    assert "accelerators      none  (none built)" in out
    assert "no problems" not in out


def test_what_is_missing_is_left_out_or_unknown() -> None:
    machine = MACHINE.model_copy(update={"cpu": Cpu(name="x", cores=None), "memory": Memory()})
    out = printed(Diagnosis(machine=machine, model=Model(name="missing", source="missing")))
    assert "memory            unknown" in out
    assert "instructions      unknown\n" in out
    assert "not to be had" in out
    assert "family" not in out
    assert "self-check" not in out


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tokens_equal": False, "differs_at": 3, "gap": 5e-4}, "yes up to token 3; there two are 0.0005 nats apart"),
        ({"tokens_equal": False, "differs_at": 3, "gap": 2.0}, "no, from token 3 on"),
        ({"pictures_differ": False}, "pictures apart    no"),
    ],
)
def test_the_self_check_says_where_it_differs(changes: dict[str, object], says: str) -> None:
    check = GOOD.model_copy(update=changes)
    assert says in printed(Diagnosis(machine=MACHINE, model=model_with(check=check)))


def test_rows_that_do_not_all_fit_are_counted() -> None:
    memory = Memory(total=4 * GIB, free=3 * GIB)
    model = model_with(room=room_of(shape_with(), "cpu", memory, cache_gb=1.0, max_rows=2000))
    assert "fits              no: 1024 rows at full context" in printed(Diagnosis(machine=MACHINE, model=model))


def test_a_copy_of_the_weights_is_told() -> None:
    memory = Memory(total=9 * GIB, free=8 * GIB)
    shape = shape_with(packed=GIB // 2, packed_from=GIB)
    model = model_with(shape=shape, room=room_of(shape, "cpu", memory, cache_gb=1.0, max_rows=4))
    assert "weights again     512.0 MiB  (a copy" in printed(Diagnosis(machine=MACHINE, model=model))


def test_a_narrow_terminal_wraps_and_loses_nothing() -> None:
    diagnosis = Diagnosis(machine=MACHINE, model=model_with(note="knows only the drawn world and nothing else at all"))
    out = printed(diagnosis, width=40, terminal=True)
    assert "\x1b[" in out
    assert "all" in out
    assert "…" not in out


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "unknown"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 * 2**19, "1.5 MiB"), (7 * GIB, "7.0 GiB")],
)
def test_sizes_are_readable(number: int | None, text: str) -> None:
    assert size(number) == text
