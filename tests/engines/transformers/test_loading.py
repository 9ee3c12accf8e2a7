"""Loading from a folder: what works, and one clear line for what does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.engines.transformers.tiny import Tiny, fill, filler_of
from transformers import LlamaConfig, LlamaForCausalLM

from stepsight.engines.transformers import TransformersEngine, engine
from stepsight.engines.transformers.families import REFUSED, family_of
from stepsight.engines.transformers.families.causal import Family, Llava
from stepsight.engines.transformers.forward import Runner
from stepsight.engines.transformers.pictures import PictureShelf
from stepsight.errors import InputError, ModelError
from stepsight.protocols import SampleRequest, Turn


@pytest.fixture(scope="module")
def saved(llava: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    llava.model.save_pretrained(folder)
    llava.processor.save_pretrained(folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "tiny"))


@pytest.mark.parametrize("family", ["llava-siglip-llama", "llava-clip-qwen2", "idefics3", "gemma3", "mllama"])
async def test_a_saved_model_answers_as_before(
    build: Callable[[str], Tiny], family: str, pictures: list[Path], tmp_path: Path
) -> None:
    tiny = build(family)
    tiny.model.save_pretrained(tmp_path)
    tiny.processor.save_pretrained(tmp_path)
    request = SampleRequest((Turn("user", "What?", (pictures[3],)),), seeds=(3,), max_tokens=12)
    with tiny.engine() as engine, TransformersEngine.load(tmp_path, device="cpu", threads=1) as loaded:
        expected = await engine.sample(request)
        assert (await loaded.sample(request)).completions[0].piece == expected.completions[0].piece
        assert loaded.name == f"transformers:{tmp_path}"


def test_a_missing_folder_is_named() -> None:
    for model in (Path("nowhere/at/all"), "./nowhere", "/nowhere/at"):
        with pytest.raises(ModelError, match=r"no such folder: .*nowhere"):
            TransformersEngine.load(model)


def test_a_hub_id_that_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="neither a folder here nor a model the hub gives us") as caught:
        TransformersEngine.load("nobody/no-such-model")
    assert "network" in caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (["config.json"], "config.json"),
        (["processor_config.json", "preprocessor_config.json"], "processor_config.json"),
        (["tokenizer.json", "tokenizer_config.json"], "tokenizer.json"),
        (["model.safetensors"], "safetensors"),
        (["chat_template.jinja"], "chat template"),
    ],
)
def test_what_is_missing_is_named(copy: Path, files: list[str], named: str) -> None:
    removed = 0
    for name in files:
        if (copy / name).exists():
            (copy / name).unlink()
            removed += 1
    assert removed
    with pytest.raises(ModelError, match=named) as caught:
        TransformersEngine.load(copy)
    assert "\n" not in str(caught.value)


def test_broken_files_are_model_errors(copy: Path) -> None:
    config = (copy / "config.json").read_text()
    (copy / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json does not load"):
        TransformersEngine.load(copy)
    (copy / "config.json").write_text(config)
    (copy / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="weights"):
        TransformersEngine.load(copy)


def test_weights_with_gaps_are_refused(copy: Path) -> None:
    path = copy / "model.safetensors"
    tensors = load_file(path)
    del tensors[next(name for name in tensors if "lm_head" in name)]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 tensors, such as lm_head"):
        TransformersEngine.load(copy)


def test_a_text_model_is_refused(copy: Path) -> None:
    LlamaForCausalLM(
        LlamaConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    ).save_pretrained(copy)
    with pytest.raises(ModelError, match="not an image-text model: its type is 'llama'"):
        TransformersEngine.load(copy)


def test_odd_settings_are_refused(copy: Path, llava: Tiny) -> None:
    with pytest.raises(ModelError, match="device 'warp'"):
        TransformersEngine.load(copy, device="warp")
    with pytest.raises(ModelError, match="no dtype 'float31'"):
        TransformersEngine.load(copy, dtype="float31")
    with pytest.raises(InputError, match="max_rows"):
        llava.engine(max_rows=0)
    bare = SimpleNamespace(image_processor=None, tokenizer=llava.processor.tokenizer)
    with pytest.raises(ModelError, match="no processor for pictures"):
        TransformersEngine(llava.model, bare)


async def test_a_dtype_can_be_asked_for(copy: Path, pictures: list[Path]) -> None:
    request = SampleRequest((Turn("user", "What?", (pictures[0],)),), seeds=(3,), max_tokens=4)
    with TransformersEngine.load(copy, dtype="bfloat16") as engine:
        assert (await engine.sample(request)).completions[0].tokens >= 1


def config_of(tiny: Tiny, **changes: Any) -> Any:
    config = type(tiny.model.config).from_dict(json.loads(tiny.model.config.to_json_string()))
    for name, value in changes.items():
        setattr(config.text_config, name, value)
    return config


def test_families_that_are_not_proven_are_refused_with_the_reason(llava: Tiny) -> None:
    for kind, reason in REFUSED.items():
        with pytest.raises(ModelError, match=f"'{kind}' are not supported: {reason}"):
            family_of(SimpleNamespace(model_type=kind))
    with pytest.raises(ModelError, match="'brand_new' are not supported: no test"):
        family_of(SimpleNamespace(model_type="brand_new"))
    assert family_of(config_of(llava)) is Llava
    with pytest.raises(ModelError, match="does not use full attention"):
        family_of(config_of(llava, sliding_window=128))
    with pytest.raises(ModelError, match="does not use full attention"):
        family_of(config_of(llava, layer_types=["full_attention", "sliding_attention"]))
    with pytest.raises(ModelError, match="rotary positions of type 'dynamic'"):
        family_of(config_of(llava, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4}))
    config = config_of(llava)
    config.text_config.model_type = "gemma3_text"
    with pytest.raises(ModelError, match="'gemma3_text' inside 'llava'"):
        family_of(config)
    config = config_of(llava)
    config.vision_config.model_type = "pixtral"
    with pytest.raises(ModelError, match="'pixtral' inside 'llava'"):
        family_of(config)
    config = config_of(llava)
    config.text_config._attn_implementation = "flash_attention_2"
    with pytest.raises(ModelError, match="flash_attention_2"):
        family_of(config)


def test_eager_attention_is_as_exact(llava: Tiny, pictures: list[Path]) -> None:
    from tests.engines.transformers.tiny import make_tiny

    eager = make_tiny("llava-siglip-llama")
    eager.model.set_attn_implementation("eager")
    turns = (Turn("user", "What?", (pictures[0],)), Turn("assistant", "x"), Turn("user", "y" * 30))
    filler, encoder = filler_of(eager)
    with torch.inference_mode():
        filled = fill(filler, [encoder.encode(turns), encoder.encode(turns[:1])])
    for one, asked in zip(filled, (turns, turns[:1]), strict=True):
        assert torch.allclose(one.logits, llava.logits(asked)[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("word", "parameters", "shares"), [("auto", 9, False), ("auto", 10, True), ("off", 10, False)])
def test_rows_share_from_the_measured_size_on(
    llava: Tiny, monkeypatch: pytest.MonkeyPatch, word: str, parameters: int, shares: bool
) -> None:
    made: list[bool] = []

    class Listening(Runner):
        def __init__(self, family: Family, pictures: PictureShelf, *, share: bool = False) -> None:
            made.append(share)
            super().__init__(family, pictures, share=share)

    count = sum(parameter.numel() for parameter in llava.model.parameters())
    # As if the tiny model had so many millions.
    monkeypatch.setattr(engine, "_WORTH_SHARING", engine._WORTH_SHARING * count / (parameters * 1_000_000))
    monkeypatch.setattr(engine, "Runner", Listening)
    llava.engine(shared_prefix=word).close()
    assert made == [shares]
