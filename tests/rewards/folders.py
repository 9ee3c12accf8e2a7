"""Folders that a reward model is loaded from: tiny real ones, and fakes with the public models' interface."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

HERE = Path(__file__).parent
WORDS = ("<unk>", "<pad>", "<end>", "user", "assistant", "How", "many", "good", "bad", "one", "two", "three", "?", ".")
TEMPLATE = "{% for turn in messages %}{{ turn.role }} {{ turn.content }} <end> {% endfor %}"


def tokenizer() -> PreTrainedTokenizerFast:
    """Words of one vocabulary, with a chat template."""
    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    make: Any = PreTrainedTokenizerFast  # untyped
    fast: PreTrainedTokenizerFast = make(
        tokenizer_object=words, unk_token="<unk>", pad_token="<pad>", eos_token="<end>"
    )
    fast.chat_template = TEMPLATE
    return fast


def classifier(folder: Path, *, classes: int = 1, template: bool = True) -> Path:
    """A sequence classifier of two layers with random weights."""
    torch.manual_seed(3)
    options: dict[str, Any] = {"num_labels": classes}
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=1,
        **options,
    )
    make: Any = LlamaForSequenceClassification  # untyped
    make(config).save_pretrained(folder)
    words = tokenizer()
    if not template:
        words.chat_template = None
    words.save_pretrained(folder)
    return folder


def valued(folder: Path) -> Path:
    """The shipped vision-language model, with a value head beside it as `trl` names one."""
    shutil.copytree(str(files("stepsight") / "pico"), folder)
    hidden = json.loads((folder / "config.json").read_text())["text_config"]["hidden_size"]
    weight = torch.randn(1, hidden, generator=torch.Generator().manual_seed(5))
    save_file(
        {"v_head.summary.weight": weight, "v_head.summary.bias": torch.tensor([0.5])}, folder / "value_head.safetensors"
    )
    return folder


def released(folder: Path, kind: str) -> Path:
    """A folder whose model runs code of its own, with the interface of the public one of that kind."""
    folder.mkdir()
    shutil.copy(HERE / f"released_{kind}.py.txt", folder / "released.py")
    config = {
        "model_type": f"fake_{kind}",
        "architectures": ["FakeReward"],
        "auto_map": {"AutoConfig": "released.FakeConfig", "AutoModel": "released.FakeReward"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"weight": torch.zeros(1)}, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer().save_pretrained(folder)
    return folder
