"""What is said of a model from its configuration is what the loaded model shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tests.engines.transformers.tiny import FAMILIES, Tiny, filler_of
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

from stepsight.diagnosis import room_of
from stepsight.engines.placement import Placement
from stepsight.engines.transformers import examining, forward
from stepsight.engines.transformers.examining import look_at_torch, shape_of
from stepsight.engines.transformers.products import Product
from stepsight.errors import ModelError
from stepsight.findings import Memory, Shape


def look(folder: Path, placement: Placement | None = None) -> Shape:
    return shape_of(folder, placement or Placement(device="cpu"), revision=None, trust_remote_code=False)


def save(tiny: Tiny, folder: Path) -> Path:
    tiny.model.save_pretrained(folder)
    tiny.processor.tokenizer.save_pretrained(folder)
    tiny.processor.image_processor.save_pretrained(folder)
    return folder


def change(folder: Path, **keys: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_are_those_of_the_loaded_model(build: Callable[[str], Tiny], family: str, tmp_path: Path) -> None:
    tiny = build(family)
    shape = look(save(tiny, tmp_path))
    filler, _ = filler_of(tiny)
    runner = filler.runner
    assert shape.proven
    assert shape.reason == ""
    assert shape.family == tiny.model.config.model_type
    assert shape.parameters == sum(parameter.numel() for parameter in tiny.model.parameters())
    assert shape.weights == sum(parameter.nbytes for parameter in tiny.model.parameters())
    assert shape.context == runner.context == 512
    kept = runner.shape
    assert shape.token == torch.zeros(kept.layers, 2, kept.heads, kept.head_dim, dtype=kept.dtype).nbytes
    assert (shape.dtype.value, shape.device.value, shape.attention.value) == ("float32", "cpu", "sdpa")
    lean = runner._lean
    assert (lean is None) == (shape.packed is None)
    if lean is not None:
        products = [product for layer in lean._layers for product in vars(layer).values()]
        products += [runner._head] if isinstance(runner._head, Product) else []
        assert shape.packed == sum(product._packed.numel() * 4 for product in products)
        half = look(tmp_path, Placement(device="cpu", dtype="bfloat16"))
        eager = look(tmp_path, Placement(device="cpu", attention="eager"))
        assert (half.packed, eager.packed) == (None, None)


def test_the_copy_is_foreseen_where_the_engine_makes_it(
    monkeypatch: pytest.MonkeyPatch, llava: Tiny, tmp_path: Path
) -> None:
    shape = look(save(llava, tmp_path))
    assert shape.packed_from
    for free, made in ((shape.packed_from, True), (shape.packed_from - 4, False)):
        monkeypatch.setattr(forward, "look_at_memory", lambda free=free: Memory(total=free, free=free))
        assert (filler_of(llava)[0].runner._lean is not None) is made
        whole = Memory(total=2**40, free=free + (shape.weights or 0))
        room = room_of(shape, "cpu", whole, cache_gb=0.0, max_rows=1)
        assert room
        assert (room.packed == shape.packed) is made


def test_no_weights_are_read(llava: Tiny, tmp_path: Path) -> None:
    save(llava, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    assert look(tmp_path).parameters


def test_smaller_numbers_make_smaller_weights(llava: Tiny, tmp_path: Path) -> None:
    save(llava, tmp_path)
    plain = look(tmp_path)
    half = look(tmp_path, Placement(device="cpu", dtype="bfloat16"))
    bytes_8, bytes_4 = (look(tmp_path, Placement(device="cpu", quantize=word)).weights for word in ("8bit", "4bit"))
    assert plain.weights
    assert half.weights == plain.weights // 2
    assert half.token == (plain.token or 0) // 2
    assert half.dtype.why == "asked for"
    assert bytes_8
    assert bytes_4
    assert bytes_4 < bytes_8 < plain.weights
    # Embeddings and the head stay as they are, a quarter of every other linear layer is left in 8 bits.
    head = llava.model.get_output_embeddings()
    linear = sum(
        module.weight.numel()
        for module in llava.model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    )
    assert plain.weights - bytes_8 == 3 * linear


def test_a_model_of_seven_billion_is_measured_without_its_weights(tmp_path: Path) -> None:
    """The sizes of LLaVA-1.5-7B, which docs/models.md tells."""
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        patch_size=14,
        image_size=336,
    )
    text = LlamaConfig(vocab_size=32064, max_position_embeddings=4096)
    LlavaConfig(vision_config=vision, text_config=text, dtype="float16").save_pretrained(tmp_path)
    for name in ("processor_config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    shape = look(tmp_path)
    assert (shape.parameters, shape.weights) == (7_063_427_072, 14_126_854_144)
    assert (shape.token, shape.context) == (512 * 1024, 4096)


def test_a_refused_family_is_a_finding_with_its_sizes(llava: Tiny, tmp_path: Path) -> None:
    save(llava, tmp_path)
    change(tmp_path, text_config={**llava.model.config.text_config.to_dict(), "sliding_window": 128})
    shape = look(tmp_path)
    assert not shape.proven
    assert "full attention" in shape.reason
    assert shape.parameters == sum(parameter.numel() for parameter in llava.model.parameters())
    assert shape.token is None


def test_a_checkpoint_without_a_dtype_and_one_that_is_quantised(llava: Tiny, tmp_path: Path) -> None:
    save(llava, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for part in (config, config["text_config"], config["vision_config"]):
        part.pop("dtype", None)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "names none" in look(tmp_path).dtype.why
    change(tmp_path, quantization_config={"quant_method": "awq", "bits": 4})
    shape = look(tmp_path)
    assert shape.weights is None
    assert "itself" in shape.quantize.why


def test_the_choice_of_a_device_has_a_reason(llava: Tiny, tmp_path: Path) -> None:
    save(llava, tmp_path)
    assert look(tmp_path).device.why == "asked for"
    assert "auto" in look(tmp_path, Placement(device_map="auto")).device.why
    with pytest.raises(ModelError, match="device 'warp'"):
        look(tmp_path, Placement(device="warp"))
    with pytest.raises(ModelError, match="no dtype"):
        look(tmp_path, Placement(device="cpu", dtype="float31"))


def test_without_an_accelerator_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    found = look_at_torch()
    assert found.accelerators == ()
    assert "built for the CPU" in found.why_none
    assert found.threads == torch.get_num_threads()
    assert look_at_torch(threads=9).threads == 9
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert "CUDA_VISIBLE_DEVICES" in look_at_torch().why_none


def test_accelerators_are_listed_with_their_memory(
    monkeypatch: pytest.MonkeyPatch, llava: Tiny, tmp_path: Path
) -> None:
    names = SimpleNamespace(get_device_name=lambda index: f"Card {index}")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda device: (device.index + 1, 9))
    monkeypatch.setattr(torch, "get_device_module", lambda device: names)
    first, second = look_at_torch().accelerators
    assert (first.device, first.name, first.memory) == ("cuda:0", "Card 0", Memory(total=9, free=1))
    assert (second.device, second.memory.free) == ("cuda:1", 2)
    assert look(save(llava, tmp_path), Placement()).device.value == "cuda"

    def unknown(device: torch.device) -> tuple[int, int]:
        raise RuntimeError("not told")

    monkeypatch.setattr(torch.accelerator, "get_memory_info", unknown)
    assert examining.look_at_torch().accelerators[0].memory == Memory()
