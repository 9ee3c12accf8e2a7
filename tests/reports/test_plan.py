"""A plan printed: every figure on its line, what is assumed, and problems last."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from rich.console import Console

from stepsight.findings import Problem
from stepsight.reports.plan import print_plan
from stepsight.training.plan.records import Compute, DeviceMemory, Lengths, Part, Plan, Target

GIB = 2**30


def memory(**changes: object) -> DeviceMemory:
    made = DeviceMemory(
        rows=4,
        length=4096,
        checkpointing=True,
        weights=5 * GIB,
        gradients=5 * GIB,
        optimiser=10 * GIB,
        gathered=0,
        activations=27 * GIB,
        total=45 * GIB,
        reserve=3 * GIB,
    )
    return made.model_copy(update=changes)


PLAN = Plan(
    recipe=Path("recipes/a.yaml"),
    model="owner/model",
    parts=(
        Part(name="vision tower", parameters=1000, trained=0),
        Part(name="text model", parameters=8000, trained=8000),
        Part(name="adapters", parameters=1000, trained=500),
    ),
    lengths=Lengths(
        measured=True,
        source="128 of 600 rows of a.jsonl",
        rows=600,
        tokens=450.6,
        learned=340.2,
        padded=480,
        longest=900,
    ),
    devices=8,
    target=Target(name="h100", title="NVIDIA H100", memory=80 * GIB, peak=1e15),
    sharding="fsdp",
    precision="weights in float32, computed with bfloat16 copies",
    batch=32,
    turns=1,
    rows_per_turn=4,
    steps=57,
    epochs=3.04,
    warmup=5,
    tokens_per_step=14419,
    learned_per_step=10886,
    memory=(
        memory(),
        memory(checkpointing=False, activations=190 * GIB, total=200 * GIB),
        memory(length=480, total=30 * GIB),
    ),
    kept={"vision tower": 3 * GIB, "loss": 100},
    compute=Compute(
        operations=3_700_000_000_000_000,
        forward={"vision tower": 600, "text model": 400},
        formula=760_000_000_000_000,
        seconds=1.33,
        hours=0.02,
        how="35% of 989 TFLOP/s on each of 8",
    ),
    launch="torchrun --nproc-per-node 8 -m stepsight train recipes/a.yaml",
    assumptions=("the sky is blue",),
    problems=(),
)


def printed(plan: Plan) -> str:
    stream = StringIO()
    print_plan(Console(file=stream, width=100, highlight=False), plan)
    return stream.getvalue()


def test_every_figure_is_there() -> None:
    out = printed(PLAN)
    for fact in (
        "vision tower      1,000  (frozen)",
        "text model        8,000  (all learn)",
        "adapters          1,000  (500 learn)",
        "parameters        10,000  (8,500 learn, 85.00%)",
        "rows              600  (measured: 128 of 600 rows of a.jsonl)",
        "tokens            451 on average  (480 with padding)",
        "that count        340 on average",
        "batch             32 rows  (4 a device at once, 8 devices, 1 turn)",
        "steps             57, 3.04 epochs  (warm-up over 5)",
        "tokens of a step  14,419  (10,886 count)",
        "tokens in all     821,883  (620,502 count)",
        "memory of a device: NVIDIA H100",
        "rows              4 of 4,096 tokens       4 of 4,096 tokens       4 of 480 tokens",
        "checkpointing     on                      off                     on",
        "activations       27.0 GiB                190.0 GiB               27.0 GiB",
        "together          45.0 GiB                200.0 GiB               30.0 GiB",
        "of                80.0 GiB: fits          80.0 GiB: does not fit  80.0 GiB: fits",
        "kept by part      vision tower 3.0 GiB  (first column",
        "operations        3.7e+15 a step  (7.6e+14 by 6 x parameters x tokens)",
        "forward pass      1e+03  (vision tower 60%, text model 40%)",
        "step              1.33 s  (35% of 989 TFLOP/s on each of 8)",
        "all steps         1.2 minutes  (0.16 device hours)",
        "command           torchrun --nproc-per-node 8 -m stepsight train recipes/a.yaml",
        "- the sky is blue",
    ):
        assert fact in out, f"{fact}\n{out}"
    assert "gathered" not in out
    assert out.rstrip().endswith("no problems")


def test_problems_come_last_with_what_to_do() -> None:
    problem = Problem(what="too large", next="--set optimisation.accumulate=2")
    out = printed(
        PLAN.model_copy(update={"problems": (problem,), "lengths": PLAN.lengths.model_copy(update={"measured": False})})
    )
    assert out.rstrip().splitlines()[-2:] == ["warning: too large", "    --set optimisation.accumulate=2"]
    assert "assumed, see below" in out
