"""Tiny random models with tokenizers and processors made on the spot, and the library's own way through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPVisionConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from stepsight.engines.transformers import TransformersEngine
from stepsight.engines.transformers.forward import Runner
from stepsight.engines.transformers.pictures import PictureShelf
from stepsight.engines.transformers.prefix_store import PrefixStore
from stepsight.engines.transformers.prompts import PromptEncoder
from stepsight.protocols import Turn

TEMPLATE = (
    "<s>{% for message in messages %}<|{{ message['role'] }}|>{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = [
    "<pad>",
    "<s>",
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<image>",
    "<fake_token_around_image>",
    "<global-img>",
    "<end_of_utterance>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
]
TAGS = [f"<{mark}{word}>" for word in ("SUMMARY", "CAPTION", "REASONING", "CONCLUSION") for mark in ("", "/")]
FAMILIES = ("llava-siglip-llama", "llava-clip-qwen2", "idefics3", "smolvlm")


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE: 256 bytes, some merges, special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("a", "n"), ("i", "n"), ("Ġ", "the"), ("e", "r"), ("o", "n"), ("r", "e")]
    vocabulary = {symbol: index for index, symbol in enumerate(alphabet)}
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    backend.add_tokens([AddedToken(token, special=False, normalized=False) for token in TAGS])
    made: PreTrainedTokenizerFast = cast(Any, PreTrainedTokenizerFast)(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="<|end|>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )
    return made


def _text(tokenizer: PreTrainedTokenizerFast, **extra: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer) + 3,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **extra,
    }


_VISION: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
}


def _build(family: str, tokenizer: PreTrainedTokenizerFast) -> tuple[Any, Any]:
    image: Any = tokenizer.convert_tokens_to_ids("<image>")
    square = {"height": 16, "width": 16}
    if family.startswith("llava"):
        clip = "clip" in family
        vision: Any = CLIPVisionConfig(**_VISION, projection_dim=24) if clip else SiglipVisionConfig(**_VISION)
        text: Any = Qwen2Config(**_text(tokenizer)) if "qwen2" in family else LlamaConfig(**_text(tokenizer))
        strategy: Any = "default" if clip else "full"
        llava = LlavaConfig(
            vision_config=vision,
            text_config=text,
            image_token_index=image,
            vision_feature_layer=-2 if clip else -1,
            vision_feature_select_strategy=strategy,
        )
        processor = cast(Any, LlavaProcessor)(
            image_processor=CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=square)
            if clip
            else SiglipImageProcessorPil(size=square),
            tokenizer=tokenizer,
            patch_size=4,
            vision_feature_select_strategy=strategy,
            num_additional_image_tokens=1 if clip else 0,
            chat_template=TEMPLATE,
        )
        return LlavaForConditionalGeneration(llava), processor
    config_class, model_class = {
        "idefics3": (Idefics3Config, Idefics3ForConditionalGeneration),
        "smolvlm": (SmolVLMConfig, SmolVLMForConditionalGeneration),
    }[family]
    config: Any = config_class(
        vision_config=dict(_VISION),
        text_config={"model_type": "llama", **_text(tokenizer)},
        image_token_id=image,
        scale_factor=2,
    )
    # SmolVLM's own processor wants video packages; for pictures it does what that of Idefics3 does.
    processor = Idefics3Processor(
        image_processor=Idefics3ImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 16}),
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template=TEMPLATE,
    )
    return model_class(config), processor


@dataclass(frozen=True)
class Tiny:
    """A model, its processor, and the library's own way through them."""

    model: Any
    processor: Any

    def inputs(self, turns: tuple[Turn, ...]) -> Any:
        conversation = [
            {
                "role": turn.role,
                "content": [*({"type": "image"} for _ in turn.images), {"type": "text", "text": turn.text}],
            }
            for turn in turns
        ]
        text = self.processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
        images = [Image.open(path).convert("RGB") for turn in turns for path in turn.images]
        return self.processor(
            text=[text], images=[images] if images else None, add_special_tokens=False, return_tensors="pt"
        )

    def logits(self, turns: tuple[Turn, ...], extra: tuple[int, ...] = ()) -> torch.Tensor:
        """Fresh full forward: logits after the prompt and after each of `extra`, (1 + extra, vocabulary)."""
        inputs = self.inputs(turns)
        ids = torch.cat([inputs.pop("input_ids"), torch.tensor([extra], dtype=torch.long)], dim=1)
        inputs.pop("attention_mask")
        with torch.no_grad():
            logits = self.model(input_ids=ids, use_cache=False, **inputs).logits[0]
        last: torch.Tensor = logits[len(logits) - len(extra) - 1 :]
        return last

    def generate(self, turns: tuple[Turn, ...], tokens: int) -> list[int]:
        inputs = self.inputs(turns)
        with torch.no_grad():
            out = self.model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
        return [int(token) for token in out[0, inputs["input_ids"].shape[1] :]]

    def engine(self, **options: Any) -> TransformersEngine:
        return TransformersEngine(self.model, self.processor, **options)


def make_tiny(family: str) -> Tiny:
    """The tiny model of a family: random, the same at each call, with logits that tell tokens apart."""
    torch.manual_seed(7)
    model, processor = _build(family, make_tokenizer())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                # Random weights of the usual size give flat logits that depend on next to nothing.
                parameter.mul_(20.0 if "lm_head" in name else 5.0)
    return Tiny(model.eval(), processor)


def runner_of(tiny: Tiny, *, cache_bytes: int = 2**24, max_rows: int = 64) -> tuple[Runner, PromptEncoder]:
    """The engine's inner parts, for tests that look at logits."""
    shelf = PictureShelf(tiny.model, tiny.processor, max_bytes=2**20)
    runner = Runner(tiny.model, shelf, PrefixStore(cache_bytes), max_rows=max_rows)
    return runner, PromptEncoder(tiny.processor, shelf)
