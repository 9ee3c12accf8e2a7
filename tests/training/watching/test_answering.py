"""A model of any family goes on learning as before when it was asked: wrapped, compiled, or as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.engines.transformers.tiny import FAMILIES, Tiny, make_tiny

from stepsight.protocols import Turn
from stepsight.records import Question
from stepsight.stages import Stage
from stepsight.training.encoding.exchange import IGNORED
from stepsight.training.watching.answering import ask
from stepsight.training.watching.aside import aside


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "one.png"
    Image.effect_noise((40, 40), 60).convert("RGB").save(path)
    return path


def gradients(model: Any, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    model.train()
    model.zero_grad()
    labels = batch["input_ids"].masked_fill(batch["input_ids"] == model.config.image_token_id, IGNORED)
    model(**batch, labels=labels, use_cache=False).loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def asked(model: Any, processor: Any, picture: Path) -> str:
    questions = [Question(id="seen", text="What is there?", images=(picture,)), Question(id="read", text="Why?")]
    with aside(model):
        traces, failed = ask(model, processor, questions, max_tokens=6)
    assert not failed
    return traces[0].text


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("family", FAMILIES)
def test_learning_goes_on_as_before(family: str, picture: Path) -> None:
    tiny: Tiny = make_tiny(family)
    turns = (Turn("user", "What is there?", (picture,)), Turn("assistant", "a red ball"))
    batch = dict(tiny.inputs(turns))
    before = gradients(tiny.model, batch)
    # What the engine says of the model in training is what the library's own way says.
    tiny.model.eval()
    expected = tiny.processor.tokenizer.decode(tiny.generate(turns[:1], 6)).removesuffix("<|end|>")
    expected = "".join(expected.partition(Stage.CONCLUSION.close)[:2])
    tiny.model.train()
    assert asked(tiny.model, tiny.processor, picture) == expected
    assert tiny.model.training
    assert same(gradients(tiny.model, batch), before)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_adapters_answer_too(picture: Path) -> None:
    from peft import LoraConfig, get_peft_model

    tiny = make_tiny(FAMILIES[0])
    plain = asked(tiny.model, tiny.processor, picture)
    model = get_peft_model(tiny.model, LoraConfig(r=2, target_modules=r".*language_model.*[qv]_proj"))
    assert asked(model, tiny.processor, picture) == plain
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=3.0)
    assert asked(model, tiny.processor, picture) != plain


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
@pytest.mark.parametrize("family", ["llava-siglip-llama", "qwen3-vl"])
def test_nothing_is_compiled_anew(family: str, picture: Path, compiled: Callable[[Any], list[int]]) -> None:
    # Only the second family's layers are run by the engine as they are.
    tiny = make_tiny(family)
    batch = dict(tiny.inputs((Turn("user", "What is there?", (picture,)), Turn("assistant", "a red ball"))))
    graphs = compiled(tiny.model.model.language_model)
    before = gradients(tiny.model, batch)
    made = len(graphs)
    assert made
    asked(tiny.model, tiny.processor, picture)
    assert len(graphs) == made
    assert same(gradients(tiny.model, batch), before)
    assert len(graphs) == made


@pytest.fixture
def compiled() -> Any:
    """Compiles a module in place, and gives a list that grows by one for each graph that was compiled."""
    graphs: list[int] = []

    def backend(graph: Any, examples: Any) -> Any:
        graphs.append(len(graphs))
        return graph.forward

    def compile_it(module: Any) -> list[int]:
        module.compile(dynamic=True, backend=backend)
        return graphs

    torch._dynamo.reset()
    yield compile_it
    torch._dynamo.reset()
