"""What a plan is made from, what it warns of, and what cannot be planned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from tests.engines.transformers.tiny_models import build
from tests.training.conftest import SIZES
from torch import nn

from stepsight.errors import InputError, ModelError
from stepsight.training.devices import wrapped_layers
from stepsight.training.plan.devices import DEVICES, has_bf16, target_for
from stepsight.training.plan.hours import from_peak
from stepsight.training.plan.make import make_plan
from stepsight.training.plan.outline import parts_of
from stepsight.training.plan.records import Plan, PlanChoice
from stepsight.training.plan.shadow import ShadowPlay
from stepsight.training.plan.sharding import launch_command, static_memory

GIB = 2**30


def write(folder: Path, **changes: Any) -> Path:
    """A recipe for a tiny pico; `optimisation` is merged, everything else replaced."""
    recipe: dict[str, Any] = {
        "task": "sft",
        "start": {"build": SIZES.model_dump()},
        "data": {"mixture": {"look": 1.0}},
        "out": str(folder / "run"),
    }
    how = {"steps": 100, "batch": 4, "learning_rate": 1e-3, "bf16": False} | changes.pop("optimisation", {})
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe | changes | {"optimisation": how}), encoding="utf-8")
    return path


@pytest.fixture(scope="module", autouse=True)
def _one_tokenizer(processor: Any) -> Iterator[None]:
    """Learning the words of the world takes longer than all else that is tested here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("stepsight.training.plan.outline.build_tokenizer", lambda: processor.tokenizer)
        yield


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(write(tmp_path_factory.mktemp("plan")))


def test_a_small_model_is_planned_for_this_machine_and_a_step_is_measured(planned: Plan) -> None:
    assert planned.target.name == "cpu"
    assert planned.compute.how.startswith("a step measured here")
    assert planned.compute.hours == pytest.approx(planned.compute.seconds * 100 / 3600)
    assert (planned.devices, planned.turns, planned.rows_per_turn) == (1, 1, 4)
    assert planned.problems == ()
    assert planned.launch.startswith("stepsight train ")


def test_tokens_are_those_of_the_rows(planned: Plan, processor: Any) -> None:
    from stepsight.training.lessons.practice import Practice
    from stepsight.training.recipe.data import WorldLessons

    lessons = Practice(WorldLessons(mixture={"look": 1.0}), processor, batch=4, length=128)
    rows = [lessons[index] for index in range(128)]
    lengths = [len(row.ids) for row in rows]
    assert planned.lengths.tokens == sum(lengths) / 128
    assert planned.lengths.longest == max(lengths)
    assert planned.lengths.learned == sum(int((row.labels >= 0).sum()) for row in rows) / 128
    padded = [32 * -(-max(lengths[start : start + 4]) // 32) for start in range(0, 128, 4)]
    assert planned.lengths.padded == sum(padded) / len(padded)
    assert planned.tokens == round(4 * planned.lengths.tokens) * 100
    assert planned.learned == round(4 * planned.lengths.learned) * 100


def test_several_turns_hold_all_gradients_and_less_else(planned: Plan, tmp_path: Path) -> None:
    turns = make_plan(write(tmp_path, optimisation={"accumulate": 4}), choice=PlanChoice(device="h100"))
    assert (turns.turns, turns.rows_per_turn) == (4, 1)
    asked, whole = turns.memory[0], planned.memory[0]
    assert asked.activations < whole.activations / 2
    assert asked.total == asked.weights + asked.gradients + asked.optimiser + asked.activations
    assert whole.total < whole.weights + whole.gradients + whole.optimiser + whole.activations


def test_hours_follow_utilisation_devices_and_peak(tmp_path: Path) -> None:
    path = write(tmp_path, optimisation={"bf16": True})
    one = make_plan(path, choice=PlanChoice(device="h100", utilisation=0.2))
    two = make_plan(path, choice=PlanChoice(device="h100", utilisation=0.4, devices=2))
    assert one.compute.seconds == pytest.approx(one.compute.operations / (0.2 * 989e12))
    assert two.compute.seconds == pytest.approx(two.compute.operations / (2 * 0.4 * 989e12))
    # Half as many rows are padded together, so there is a little less padding.
    assert 0.9 < two.compute.operations / one.compute.operations < 1
    assert two.launch == f"torchrun --nproc-per-node 2 -m stepsight train {path}"
    assert two.memory[0].gathered == two.memory[0].gradients  # buckets
    assert "autocast" in two.precision


def test_the_batch_must_divide(tmp_path: Path) -> None:
    plan = make_plan(write(tmp_path), choice=PlanChoice(device="h100", devices=3))
    [problem] = plan.problems
    assert problem.serious
    assert "4 rows cannot be divided over 3 devices" in problem.what
    assert "optimisation.batch=6" in problem.next


@pytest.mark.parametrize(
    ("memory", "change", "says"),
    [
        (lambda plan: _needs(plan, 0) - 1, {}, "optimisation.checkpointing=true"),
        (
            lambda plan: _needs(plan, 1) - 1,
            {},
            "optimisation.checkpointing=true --set optimisation.accumulate=",
        ),
        (lambda plan: 1000, {}, "sharding.way=fsdp"),
    ],
)
def test_what_does_not_fit_is_said_with_what_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: Any, change: dict[str, Any], says: str
) -> None:
    path = write(tmp_path, optimisation={"batch": 8, **change})
    fitting = make_plan(path, choice=PlanChoice(device="h100"))
    assert fitting.problems == ()
    title, _, brief, single = DEVICES["h100"]
    monkeypatch.setitem(DEVICES, "h100", (title, memory(fitting), brief, single))
    plan = make_plan(path, choice=PlanChoice(device="h100"))
    [problem] = plan.problems
    assert "do not fit on a device" in problem.what
    assert says in problem.next
    changes = problem.next.partition(":")[0].replace("--set", "").split()
    if "fsdp" not in says:
        assert make_plan(path, changes, PlanChoice(device="h100")).problems == ()


def _needs(plan: Plan, column: int) -> int:
    return plan.memory[column].total + plan.memory[column].reserve


def test_rows_longer_than_the_context_are_warned_of(tmp_path: Path, example_rows: Path) -> None:
    data = {"rows": str(example_rows / "rows.jsonl"), "images": str(example_rows), "context": 90}
    plan = make_plan(write(tmp_path, data=data))
    assert plan.lengths.measured
    assert plan.lengths.rows == 6
    [problem] = plan.problems
    assert "6 rows are longer than context, 90 tokens" in problem.what
    assert "data.context" in problem.next
    assert plan.epochs == pytest.approx(100 * 4 / 6)


@pytest.fixture
def example_rows(tmp_path: Path) -> Path:
    import json

    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    rows = [
        {
            "id": str(number),
            "image": "a.png",
            "conversations": [{"from": "human", "value": "How many?"}, {"from": "gpt", "value": "One two three " * 30}],
        }
        for number in range(6)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path


def test_what_cannot_be_planned_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="task: align"):
        make_plan(write(tmp_path, task="align", data=None))
    with pytest.raises(InputError, match="one device to shard over"):
        make_plan(write(tmp_path, sharding={"way": "fsdp"}), choice=PlanChoice(devices=1))
    with pytest.raises(InputError, match=r"no device is called h900.*h100"):
        make_plan(write(tmp_path), choice=PlanChoice(device="h900"))
    missing = write(tmp_path, start={"folder": "nobody/nothing-at-all"})
    with pytest.raises(ModelError, match=r"neither a folder, nor in the hub's cache.*--config"):
        make_plan(missing)
    with pytest.raises(ModelError, match=r"has no config\.json"):
        make_plan(missing, choice=PlanChoice(config=tmp_path))


def test_a_configuration_is_taken_from_a_given_folder(tmp_path: Path) -> None:
    model, _ = build("llava-siglip-llama")
    model.config.save_pretrained(tmp_path / "given")
    rows = {"rows": "nowhere.jsonl", "images": "nowhere"}
    path = write(tmp_path, start={"folder": "nobody/nothing-at-all"}, data=rows)
    with pytest.raises(ModelError, match=r"makes of pictures is not known here.*preprocessor_config"):
        make_plan(path, choice=PlanChoice(config=tmp_path / "given"))
    (tmp_path / "given" / "preprocessor_config.json").write_text(
        '{"image_processor_type": "SiglipImageProcessor", "size": {"height": 16, "width": 16}}', encoding="utf-8"
    )
    plan = make_plan(path, choice=PlanChoice(config=tmp_path / "given", device="a100"))
    assert not plan.lengths.measured
    assert "640 x 480 pixels, which makes 16 tokens" in plan.assumptions[2]
    assert sum(part.parameters for part in plan.parts) == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize(("frozen", "part"), [("freeze_vision", "vision tower"), ("freeze_text", "text model")])
def test_what_is_frozen_does_not_learn(tmp_path: Path, planned: Plan, frozen: str, part: str) -> None:
    plan = make_plan(write(tmp_path, **{frozen: True}), choice=PlanChoice(device="t4"))
    [found] = [one for one in plan.parts if one.name == part]
    assert found.trained == 0 < found.parameters
    assert plan.memory[0].optimiser < planned.memory[0].optimiser
    assert plan.memory[0].weights == planned.memory[0].weights


def test_parts_are_found_in_every_family() -> None:
    for family in ("mllama", "qwen3-vl", "idefics3", "gemma3"):
        model, _ = build(family)
        parts = parts_of(model)
        assert [part.name for part in parts] == ["vision tower", "projector", "text model", "embeddings"]
        assert sum(part.parameters for part in parts) == sum(weight.numel() for weight in model.parameters())


def test_shards_are_cut_along_the_first_axis() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.tall = nn.Linear(10, 3, bias=False), nn.Linear(2, 16)

    model = Two()
    static = static_memory(model, {"tall.weight", "tall.bias"}, "fsdp", 8)
    assert static.weights == 4 * (1 * 10 + 2 * 2 + 2)
    assert static.gradients == 4 * (2 * 2 + 2)
    assert static.optimiser == 2 * static.gradients + 2 * 4
    # Stage 3 of ZeRO keeps 16 bytes of each weight that learns: 2 and 2 in bfloat16, 4 and 8 in float32.
    zero = static_memory(model, {"tall.weight", "tall.bias"}, "zero3", 1, brief=True)
    assert zero.weights + zero.gradients + zero.optimiser == 16 * (2 * 16 + 16) + 2 * 30 + 2 * 4


def test_layers_to_wrap_are_the_librarys_or_those_that_are_named() -> None:
    model, _ = build("mllama")
    assert wrapped_layers(model, ()) == [
        "MllamaCrossAttentionDecoderLayer",
        "MllamaSelfAttentionDecoderLayer",
        "MllamaVisionEncoderLayer",
    ]
    with pytest.raises(ModelError, match=r"no Nothing.*MllamaVisionEncoderLayer"):
        wrapped_layers(model, ["Nothing"])


def test_many_devices_are_several_nodes() -> None:
    assert "--nnodes 2 --nproc-per-node 8" in launch_command(Path("a.yaml"), 16)


def test_devices_have_names_and_peaks() -> None:
    for name in DEVICES:
        target = target_for(name, bf16=False)
        assert target.memory is not None
        assert target.memory >= 15 * GIB
        assert target.peak is not None
    assert not has_bf16("t4")
    assert from_peak(989 * 10**12, 2, target_for("h100", bf16=True), 0.5)[0] == 1.0


def test_shadows_count_what_is_alive_and_what_is_computed() -> None:
    play = ShadowPlay()
    model = nn.Linear(64, 32, bias=False)
    play.cast(model)
    with play:
        play.scene = "one"
        made = model(torch.ones(8, 64).to(torch.float32))
        assert play.operations == {"one": 2 * 8 * 64 * 32}
        assert play.alive() == {"one": 8 * 64 * 4 + 8 * 32 * 4}
        made.sum().backward()
        del made
    assert play.held.gradients == 64 * 32 * 4
    assert play.held.most >= 64 * 32 * 4


def test_truth_values_of_a_batch_are_asked_and_those_of_shadows_count_as_true() -> None:
    play = ShadowPlay()
    weight = nn.Embedding(10, 4)
    play.cast(weight)
    ids = torch.tensor([1, 2, 2, 5])
    with play:
        seen = weight(ids)
        assert seen[ids == 2].shape == (2, 4)
        assert seen[seen > 0].shape == (16,)
        with pytest.raises(ModelError, match="without numbers"):
            bool(seen.sum() > 0)
