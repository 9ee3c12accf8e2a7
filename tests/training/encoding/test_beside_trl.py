"""What is learned is what TRL's assistant mask says, for every family whose real chat template TRL can train with.

TRL's training templates are those of real checkpoints with marks around what the assistant says. The tiny tokenizers
are given them, with their own marks for pictures. TRL learns the line feed that some templates write behind an end of
turn as well; a model that has ended its turn is asked for nothing more, so here it is not learned.

Not compared: `mllama`, for which TRL has no training template, and whose processor does not tell where pictures went,
which the mask is made by; its labels are tested with its template's shape in `test_chat.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from PIL import Image
from trl.chat_template_utils import get_training_chat_template

from stepsight.training.encoding.exchange import IGNORED

from ..tiny_rows import EXCHANGES, PICTURES, encoded, turns_of
from .chat_templates import LLAMA, dressed

FOLDER = Path(trl.__file__).parent / "chat_templates"
TEMPLATES = {
    "llava-siglip-llama": ("llava_next", "</s>"),
    "llava-clip-qwen2": ("llava_next", "</s>"),
    # TRL has no template of these two; their checkpoints write turns as Qwen does.
    "llava-onevision": ("qwen2_5_vl", "<|im_end|>"),
    "internvl": ("qwen2_5_vl", "<|im_end|>"),
    "idefics3": ("idefics3", "<end_of_utterance>"),
    "smolvlm": ("smolvlm", "<end_of_utterance>"),
    "qwen2.5-vl": ("qwen2_5_vl", "<|im_end|>"),
    "qwen3-vl": ("qwen3_vl", "<|im_end|>"),
    "gemma3": ("gemma3", "<end_of_turn>"),
}


def template_of(name: str, image_token: str) -> str:
    text = (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
    for mark in ("<|image_pad|>", "<start_of_image>", "<image>"):
        text = text.replace(mark, image_token)
    return text


def trl_mask(processor: Any, template: str, picture: Image.Image | None) -> tuple[list[int], list[int]]:
    """Tokens, and which of them TRL learns: as the collator of its trainer asks the library."""
    made = processor.apply_chat_template(
        [turns_of(picture)],
        chat_template=template,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        return_assistant_tokens_mask=True,
        processor_kwargs={"add_special_tokens": False, "padding": True, "padding_side": "right"},
    )
    return made["input_ids"][0].tolist(), torch.as_tensor(made["assistant_masks"])[0].tolist()


def up_to_ends(ids: list[int], mask: list[int], end: int) -> list[int]:
    """The mask without what is written behind each end of turn."""
    ended = False
    kept = []
    for token, learned in zip(ids, mask, strict=True):
        kept.append(int(bool(learned) and not ended))
        ended = bool(learned) and (ended or token == end)
    return kept


@pytest.mark.parametrize("shown", [True, False], ids=["picture", "text"])
@pytest.mark.parametrize("family", TEMPLATES)
def test_labels_are_those_of_trl(family: str, shown: bool) -> None:
    name, end = TEMPLATES[family]
    processor = dressed(family, "")
    picture = PICTURES[1] if shown else None
    processor.chat_template = template_of(name, processor.image_token)
    row = encoded(processor, picture)
    ids, mask = trl_mask(processor, template_of(f"{name}_training", processor.image_token), picture)
    assert row.ids.tolist() == ids
    kept = up_to_ends(ids, mask, processor.tokenizer.convert_tokens_to_ids(end))
    assert sum(kept) > sum(len(reply) for _, reply in EXCHANGES) // 4
    assert (row.labels != IGNORED).int().tolist() == kept


def test_trl_has_no_training_template_for_mllama() -> None:
    with pytest.raises(ValueError, match="patching is not supported"):
        get_training_chat_template(dressed("mllama", LLAMA))
