"""Options of loading: each reaches the library as it should, or is refused before the weights are read."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.engines.transformers.tiny import Tiny
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from stepsight.engines.placement import ATTENTION, Placement
from stepsight.engines.transformers import TransformersEngine, placing
from stepsight.engines.transformers.families import family_of
from stepsight.engines.transformers.loading import load_model
from stepsight.engines.transformers.placing import own_device
from stepsight.errors import EngineError, InputError, MissingExtraError, ModelError
from stepsight.protocols import SampleRequest, Turn


@pytest.fixture(scope="module")
def saved(llava: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    llava.model.save_pretrained(folder)
    llava.processor.save_pretrained(folder)
    return folder


def pretend(monkeypatch: pytest.MonkeyPatch, **installed: bool) -> None:
    """Let `placing` find, or not find, packages whatever is installed here."""

    def find(name: str) -> ModuleSpec | None:
        return (ModuleSpec(name, None) if installed[name] else None) if name in installed else real(name)

    real = importlib.util.find_spec
    monkeypatch.setattr(placing, "find_spec", find)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What each of the library's three loaders is asked, which then go on as ever."""
    calls: dict[str, dict[str, Any]] = {}

    def listen(loader: Any) -> None:
        real: Callable[..., Any] = loader.from_pretrained

        def from_pretrained(name: str, **options: Any) -> Any:
            calls[loader.__name__] = options
            return real(name, **options)

        monkeypatch.setattr(loader, "from_pretrained", from_pretrained)

    for loader in (AutoConfig, AutoProcessor, AutoModelForImageTextToText):
        listen(loader)
    return calls


@pytest.mark.parametrize("trusted", [False, True])
def test_revision_and_trust_reach_every_loader(saved: Path, asked: dict[str, dict[str, Any]], trusted: bool) -> None:
    load_model(saved, Placement(), revision="v1", trust_remote_code=trusted)
    assert set(asked) >= {"AutoConfig", "AutoProcessor", "AutoModelForImageTextToText"}
    for options in asked.values():
        assert options["revision"] == "v1"
        assert options["trust_remote_code"] is trusted


def test_remote_code_is_not_trusted_and_no_map_is_used_by_default(
    saved: Path, asked: dict[str, dict[str, Any]]
) -> None:
    TransformersEngine.load(saved, device="cpu").close()
    for options in asked.values():
        assert options["trust_remote_code"] is False
        assert options["revision"] is None
    weights = asked["AutoModelForImageTextToText"]
    assert (weights["dtype"], weights["attn_implementation"]) == ("auto", "sdpa")
    assert not {"device_map", "quantization_config"} & set(weights)


@pytest.mark.parametrize("device_map", ["auto", "balanced", '{"": "cpu"}'])
async def test_a_map_onto_one_device_gives_the_same_answer(
    saved: Path, device_map: str, pictures: list[Path], asked: dict[str, dict[str, Any]]
) -> None:
    request = SampleRequest((Turn("user", "What?", (pictures[0],)),), seeds=(3,), max_tokens=8)
    with TransformersEngine.load(saved) as plain:
        expected = await plain.sample(request)
    with TransformersEngine.load(saved, device_map=device_map) as mapped:
        found = await mapped.sample(request)
    assert found.completions[0].piece == expected.completions[0].piece
    assert asked["AutoModelForImageTextToText"]["device_map"] == Placement(device_map=device_map).parts


HEAD, ALL, REST = '{"model": "cpu", "lm_head": "disk"}', '{"": "disk"}', '{"model": "disk", "lm_head": "cpu"}'


@pytest.mark.parametrize(
    ("family", "device_map"),
    [
        ("llava-siglip-llama", HEAD),
        ("mllama", HEAD),
        ("gemma3", ALL),
        *[(family, device_map) for family in ("smolvlm", "qwen2.5-vl") for device_map in (HEAD, ALL, REST)],
    ],
)
async def test_parts_that_rest_on_the_disk_are_fetched_and_the_answer_is_the_same(
    build: Callable[[str], Tiny], family: str, device_map: str, pictures: list[Path], tmp_path: Path, caplog: Any
) -> None:
    tiny = build(family)
    tiny.model.save_pretrained(tmp_path)
    turns = (Turn("user", "What?", (pictures[0],)),)
    expected = tiny.generate(turns, 6)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path, device_map=Placement(device_map=device_map).parts)
    placing.check_placed(loaded)
    assert "rest on disk" in caplog.text
    assert placing.running_device(loaded) == torch.device("cpu")
    with TransformersEngine(loaded, tiny.processor) as engine:
        (found,) = (await engine.sample(SampleRequest(turns, (0,), max_tokens=6, temperature=0.0))).completions
    ids = list(found.piece.ids or ())
    assert ids == expected[: len(ids)]
    assert found.tokens in (len(ids), len(ids) + 1)
    assert len(ids) > 0


async def test_where_the_library_cannot_fetch_a_part_the_error_says_so(
    build: Callable[[str], Tiny], pictures: list[Path], tmp_path: Path
) -> None:
    tiny = build("llava-siglip-llama")  # its vision tower reaches into a part's weights past the fetching
    tiny.model.save_pretrained(tmp_path)
    tiny.processor.save_pretrained(tmp_path)
    with (
        TransformersEngine.load(tmp_path, device_map=ALL) as engine,
        pytest.raises(EngineError, match="meta"),
    ):
        await engine.sample(SampleRequest((Turn("user", "What?", (pictures[0],)),), (0,), max_tokens=2))


def test_a_map_over_several_devices_is_refused_before_the_weights_are_read(
    saved: Path, asked: dict[str, dict[str, Any]]
) -> None:
    spread = '{"model.vision_tower": "cpu", "model.language_model": "cuda:0", "lm_head": "cuda:1"}'
    with pytest.raises(ModelError, match=r"over cuda:0, cuda:1, and .* key-values of all layers on one device") as no:
        TransformersEngine.load(saved, device_map=spread)
    assert "--device" in no.value.hint
    assert "AutoModelForImageTextToText" not in asked


def test_a_model_that_the_library_spread_out_is_refused(
    saved: Path, llava: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_pretrained(name: str, **options: Any) -> Any:
        monkeypatch.setattr(llava.model, "hf_device_map", {"model": 0, "lm_head": 1}, raising=False)
        return llava.model, {"missing_keys": []}

    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", from_pretrained)
    with pytest.raises(ModelError, match="spreads the model over 0, 1"):
        TransformersEngine.load(saved, device_map="auto")


def test_parts_without_weights_are_refused() -> None:
    model = torch.nn.Linear(2, 2, device="meta")
    with pytest.raises(ModelError, match="no weights"):
        placing.check_placed(model)
    placing.check_placed(torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("devices", "work"),
    [
        (["cpu"], ["cpu"]),
        (["disk"], ["cpu"]),
        ([0, "cpu", "disk"], ["0"]),
        (["cuda:0", "cuda:1", "cpu"], ["cuda:0", "cuda:1"]),
        ([], ["cpu"]),
    ],
)
def test_parts_may_rest_where_nothing_is_computed(devices: list[object], work: list[str]) -> None:
    assert placing.working(devices) == work


def test_a_missing_package_names_the_extra(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, accelerate=False, bitsandbytes=True)
    needy: list[dict[str, Any]] = [{"device_map": "auto"}, {"quantize": "4bit"}]
    for options in needy:
        with pytest.raises(MissingExtraError, match=r"accelerate is not installed .*pip install 'stepsight\[large\]'"):
            TransformersEngine.load(saved, **options)
    pretend(monkeypatch, accelerate=True, bitsandbytes=False)
    with pytest.raises(MissingExtraError, match=r"bitsandbytes is not installed .*pip install 'stepsight\[large\]'"):
        TransformersEngine.load(saved, quantize="8bit")


@pytest.mark.parametrize("quantize", ["8bit", "4bit"])
def test_quantised_weights_are_asked_for_and_never_moved(
    saved: Path, llava: Tiny, monkeypatch: pytest.MonkeyPatch, quantize: str
) -> None:
    seen: dict[str, Any] = {}

    def from_pretrained(name: str, **options: Any) -> Any:
        seen.update(options)
        return llava.model, {"missing_keys": []}

    def move(where: Any) -> Any:
        raise AssertionError("quantised weights cannot be moved")

    pretend(monkeypatch, accelerate=True, bitsandbytes=True)
    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", from_pretrained)
    monkeypatch.setattr(llava.model, "to", move)
    load_model(saved, Placement(device="cpu", quantize=quantize), revision=None, trust_remote_code=False)
    config = seen["quantization_config"]
    assert type(config).__name__ == "BitsAndBytesConfig"
    assert (config.load_in_8bit, config.load_in_4bit) == (quantize == "8bit", quantize == "4bit")
    assert seen["device_map"] == {"": torch.device("cpu")}
    if quantize == "4bit":
        assert config.bnb_4bit_quant_type == "nf4"
        assert config.bnb_4bit_compute_dtype == torch.float32  # what the tiny model was saved in


def test_the_dtype_asked_for_is_what_four_bits_compute_in(saved: Path) -> None:
    config = SimpleNamespace(dtype=torch.float16)
    made = placing.quantisation(Placement(quantize="4bit", dtype="bfloat16"), config)
    assert made.bnb_4bit_compute_dtype == torch.bfloat16
    assert placing.quantisation(Placement(quantize="4bit"), config).bnb_4bit_compute_dtype == torch.float16
    assert placing.quantisation(Placement(), config) is None


def test_a_checkpoint_that_is_quantised_is_neither_moved_nor_quantised_again() -> None:
    config = SimpleNamespace(dtype=torch.float16, quantization_config={"quant_method": "awq"})
    assert placing.device_map_of(Placement(device="cpu"), config) == {"": torch.device("cpu")}
    with pytest.raises(ModelError, match="quantised already"):
        placing.quantisation(Placement(quantize="4bit"), config)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
async def test_the_attention_asked_for_is_used_and_gives_the_same_tokens(
    saved: Path, llava: Tiny, attention: str, pictures: list[Path]
) -> None:
    turns = (Turn("user", "What?", (pictures[0],)),)
    model, processor = load_model(saved, Placement(attention=attention), revision=None, trust_remote_code=False)
    assert model.config.text_config._attn_implementation == attention
    family_of(model.config)
    with TransformersEngine(model, processor) as engine:
        found = await engine.sample(SampleRequest(turns, (0,), max_tokens=6, temperature=0.0))
    expected = llava.generate(turns, 6)
    assert list(found.completions[0].piece.ids or ()) == expected[: len(found.completions[0].piece.ids or ())]


def test_every_attention_that_can_be_asked_for_is_one_that_families_allow(llava: Tiny) -> None:
    config = type(llava.model.config).from_dict(llava.model.config.to_dict())
    for name in ATTENTION[1:]:
        config.text_config._attn_implementation = name
        family_of(config)


def test_bounds_are_refused_before_anything_is_loaded(saved: Path, asked: dict[str, dict[str, Any]]) -> None:
    bounds: list[dict[str, Any]] = [{"cache_gb": -1.0}, {"max_rows": 0}, {"threads": 0}]
    for wrong in bounds:
        with pytest.raises(InputError, match="cache_gb"):
            TransformersEngine.load(saved, **wrong)
    assert not asked


async def test_threads_are_those_of_the_engine_alone(saved: Path, pictures: list[Path]) -> None:
    before, seen = torch.get_num_threads(), []
    with TransformersEngine.load(saved, threads=before + 1) as engine:
        await engine.sample(
            SampleRequest((Turn("user", "What?", (pictures[0],)),), (0,), max_tokens=2),
            lambda slot, text: seen.append(torch.get_num_threads()),
        )
    assert seen
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


def test_where_the_checkpoint_says_its_dtype() -> None:
    assert placing.saved_dtype(SimpleNamespace(dtype="bfloat16")) == torch.bfloat16
    inside = SimpleNamespace(dtype=None, text_config=SimpleNamespace(dtype=torch.float16))
    assert placing.saved_dtype(inside) == torch.float16
    assert placing.saved_dtype(SimpleNamespace(dtype=None)) is None


def test_copies_take_one_accelerator_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert [own_device("auto", number) for number in range(4)] == ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]
    assert own_device("cuda:1", 2) == "cuda:1"
    assert own_device("cpu", 1) == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert own_device("cuda", 1) == "cuda"
