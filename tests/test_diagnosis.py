"""A diagnosis: each step that fails is a problem, and what does not depend on it still comes."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from stepsight import diagnosis
from stepsight.assembly import ModelChoice
from stepsight.diagnosis import diagnose, room_of
from stepsight.errors import EngineError
from stepsight.findings import Chosen, Cpu, Machine, Memory, SelfCheck, Shape

GIB = 2**30
PICO = Path(str(files("stepsight") / "pico"))
GOOD = SelfCheck(
    tokens=24,
    tokens_equal=True,
    reused=60,
    pictures_differ=True,
    error=1e-5,
    rounding=1e-3,
    engine_seconds=0.1,
    library_seconds=0.2,
)


def shape_with(**changes: Any) -> Shape:
    chosen = Chosen(value="cpu", why="asked for")
    shape = Shape(
        family="llava",
        language="llama",
        vision="clip_vision_model",
        proven=True,
        device=chosen,
        dtype=Chosen(value="float32", why=""),
        attention=Chosen(value="sdpa", why=""),
        quantize=Chosen(value="none", why=""),
        parameters=GIB // 4,
        weights=GIB,
        context=1024,
        token=1024,
    )
    return shape.model_copy(update=changes)


@pytest.fixture
def pico(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PICO, tmp_path / "pico"))


def change(folder: Path, **keys: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def test_the_shipped_model_is_well() -> None:
    told: list[str] = []
    found = diagnose(ModelChoice(device="cpu", threads=1), tell=told.append)
    assert found.usable
    assert found.problems == ()
    model = found.model
    assert (model.name, model.source, model.judge_prompts) == ("pico", str(PICO), "short-2")
    assert model.shape
    assert model.shape.proven
    assert model.check
    assert model.check.exact
    assert model.check.tokens_equal
    assert model.check.reused > 0
    assert model.loading_seconds
    assert model.room
    assert model.room.cache_tokens == 3 * GIB // 4 // (model.shape.token or 0)
    assert 0 < model.room.packed < (model.shape.weights or 0)
    assert model.room.packed == model.shape.packed
    assert json.loads(found.model_dump_json())["model"]["room"]["packed"] == model.shape.packed
    assert found.torch
    assert found.torch.threads == 1
    assert any("pico" in what for what in told)


def test_without_the_check_no_weights_are_read(pico: Path) -> None:
    (pico / "model.safetensors").write_bytes(b"nothing")
    found = diagnose(ModelChoice(str(pico), device="cpu"), check=False)
    assert found.usable
    assert found.model.check is None
    assert found.model.shape
    found = diagnose(ModelChoice(str(pico), device="cpu"))
    assert not found.usable
    assert "weights" in found.problems[0].what


@pytest.mark.parametrize("name", ["missing", "/missing/model"])
def test_a_model_that_is_not_there_leaves_the_rest(name: str) -> None:
    found = diagnose(ModelChoice(name))
    assert not found.usable
    assert found.torch
    assert found.machine.packages["torch"]
    assert found.model.shape is None
    (problem,) = found.problems
    assert name in problem.what
    assert "hub id" in problem.next


def test_a_refused_family_is_not_loaded_but_measured(pico: Path) -> None:
    text = json.loads((pico / "config.json").read_text())["text_config"]
    change(pico, text_config={**text, "sliding_window": 128})
    found = diagnose(ModelChoice(str(pico), device="cpu"))
    assert not found.usable
    assert found.problems[0].what.endswith("does not use full attention in every layer")
    assert found.problems[0].next.startswith("supported: ")
    assert found.model.shape
    assert found.model.shape.parameters == 4_944_512
    assert found.model.check is None


def test_a_broken_card_and_a_device_that_is_not_here(pico: Path) -> None:
    found = diagnose(ModelChoice(str(pico), device="warp"))
    assert "warp" in found.problems[0].what
    (pico / "stepsight.json").write_text('{"colour": 1}')
    found = diagnose(ModelChoice(str(pico), device="cpu"), check=False)
    assert "stepsight.json" in found.problems[0].what
    assert found.torch


def test_a_model_that_is_too_large_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(
        packages={}, python="3", system="x", cpu=Cpu(name="x", cores=1), memory=Memory(total=2**24, free=2**24)
    )
    monkeypatch.setattr(diagnosis, "look_at_machine", lambda: machine)
    monkeypatch.setattr(diagnosis, "_run", lambda *_: pytest.fail("it was loaded"))
    found = diagnose(ModelChoice(device="cpu"))
    assert not found.usable
    assert "weights take" in found.problems[0].what
    assert "quantize" in found.problems[0].next


def test_an_engine_that_fails_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> tuple[float, SelfCheck]:
        raise EngineError("it broke", hint="mend it")

    monkeypatch.setattr(diagnosis, "_run", run)
    (problem,) = diagnose(ModelChoice(device="cpu")).problems
    assert (problem.what, problem.next, problem.serious) == ("it broke", "mend it", True)


def test_numbers_that_the_processor_has_no_instructions_for_are_told(
    pico: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on(bf16: bool | None, dtype: str, *flags: str) -> list[str]:
        cpu = Cpu(name="x", cores=1, flags=("avx2", *flags), bf16=bf16)
        machine = Machine(packages={}, python="3", system="x", cpu=cpu, memory=Memory(total=2**40, free=2**40))
        monkeypatch.setattr(diagnosis, "look_at_machine", lambda: machine)
        found = diagnose(ModelChoice(str(pico), device="cpu", dtype=dtype), check=False)
        assert found.usable
        return [problem.next for problem in found.problems]

    assert "float32" in on(False, "bfloat16")[0]
    assert "--dtype float32" in on(False, "float16")[0]
    assert "--dtype bfloat16" in on(True, "float16")[0]
    assert on(True, "float16", "avx512_fp16") == []
    assert on(True, "bfloat16") == on(None, "bfloat16") == on(False, "float32") == []


@pytest.mark.parametrize(
    ("free", "fits", "rows"),
    [
        (None, "unknown", None),
        (GIB - 1, "no", 0),
        (GIB, "not all rows", 0),
        (3 * GIB, "not all rows", 1024),
        (2 * GIB + 2000 * 2**20, "yes", 2000),
    ],
)
def test_the_arithmetic_of_memory(free: int | None, fits: str, rows: int | None) -> None:
    memory = Memory(total=None if free is None else 2 * free, free=free)
    room = room_of(shape_with(), "cpu", memory, cache_gb=1.0, max_rows=2000)
    assert room
    assert room.fits == fits
    assert room.rows_at_full_context == rows
    assert room.rows == 2000 * 2**20
    assert room.cache_tokens == 3 * 2**18
    assert room.needed == 2 * GIB + 2000 * 2**20


def test_rows_that_do_not_all_fit_are_a_warning_with_a_number() -> None:
    room = room_of(shape_with(), "cpu", Memory(total=4 * GIB, free=3 * GIB), cache_gb=1.0, max_rows=2000)
    (problem,) = diagnosis._of_room(room)
    assert not problem.serious
    assert "--max-rows 1024" in problem.next
    tight = room_of(shape_with(), "cpu", Memory(total=4 * GIB, free=GIB + 1), cache_gb=1.0, max_rows=4)
    assert "smaller --cache-gb" in diagnosis._of_room(tight)[0].next


def test_the_copy_of_the_weights_takes_room_where_it_is_made() -> None:
    shape = shape_with(packed=GIB // 2, packed_from=2 * GIB)
    made = room_of(shape, "cpu", Memory(total=9 * GIB, free=3 * GIB), cache_gb=1.0, max_rows=2000)
    left = room_of(shape, "cpu", Memory(total=9 * GIB, free=3 * GIB - 1), cache_gb=1.0, max_rows=2000)
    assert made
    assert left
    assert (made.packed, made.rows_at_full_context) == (GIB // 2, 512)
    assert (left.packed, left.rows_at_full_context) == (0, 1023)
    assert made.needed - left.needed == GIB // 2
    assert "with their copy" in diagnosis._of_room(made)[0].what
    assert "with their copy" not in diagnosis._of_room(left)[0].what


def test_sizes_that_are_not_known_are_not_guessed() -> None:
    memory = Memory(total=GIB, free=GIB)
    for unknown in ("weights", "token", "context"):
        assert room_of(shape_with(**{unknown: None}), "cpu", memory, cache_gb=1.0, max_rows=1) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pictures_differ": False}, "one is taken for the other"),
        ({"error": 0.1}, "0.1 nats"),
        ({"tokens_equal": False, "differs_at": 3, "gap": 2.0}, "token 3"),
        ({"tokens_equal": False, "differs_at": 24, "gap": None}, "token 24"),
    ],
)
def test_whatever_is_not_exact_is_serious(changes: dict[str, Any], says: str) -> None:
    check = GOOD.model_copy(update=changes)
    assert not check.exact
    (problem,) = diagnosis._of_check(check)
    assert problem.serious
    assert says in problem.what


def test_a_near_tie_that_rounding_turns_is_no_fault() -> None:
    check = GOOD.model_copy(update={"tokens_equal": False, "differs_at": 3, "gap": 5e-4})
    assert check.exact
    assert diagnosis._of_check(check) == []
    assert GOOD.exact
