"""Tiny random models of every proven family, with tokenizers and processors made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3Processor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionProcessor,
    LlavaProcessor,
    MllamaConfig,
    MllamaForConditionalGeneration,
    MllamaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Config,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    SiglipVisionConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

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
    "<img>",
    "</img>",
    "<|boi|>",
    "<|eoi|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<video>",
    "<|python_tag|>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
]
TAGS = [f"<{mark}{word}>" for word in ("SUMMARY", "CAPTION", "REASONING", "CONCLUSION") for mark in ("", "/")]
FAMILIES = (
    "llava-siglip-llama",
    "llava-clip-qwen2",
    "llava-onevision",
    "idefics3",
    "smolvlm",
    "internvl",
    "qwen2.5-vl",
    "qwen3-vl",
    "gemma3",
    "mllama",
)


def make_tokenizer(*, picture_last: bool = False) -> PreTrainedTokenizerFast:
    """Byte-level BPE: 256 bytes, some merges, special tokens, tags; the picture's token among them or behind all."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("a", "n"), ("i", "n"), ("Ġ", "the"), ("e", "r"), ("o", "n"), ("r", "e")]
    vocabulary = {symbol: index for index, symbol in enumerate(alphabet)}
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL]
    picture = [token for token in special if token.content == "<image>"]
    backend.add_special_tokens([token for token in special if not (picture_last and token in picture)])
    backend.add_tokens([AddedToken(token, special=False, normalized=False) for token in TAGS])
    backend.add_special_tokens(picture)
    made: PreTrainedTokenizerFast = cast(Any, PreTrainedTokenizerFast)(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="<|end|>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
        extra_special_tokens={
            "image_token": "<image>",
            "video_token": "<video>",
            "context_image_token": "<image>",
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "boi_token": "<|boi|>",
            "eoi_token": "<|eoi|>",
        },
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


def build(family: str) -> tuple[Any, Any]:
    """The model and the processor of a family."""
    tokenizer = make_tokenizer(picture_last=family == "mllama")
    image: Any = tokenizer.convert_tokens_to_ids("<image>")
    square = {"height": 16, "width": 16}
    if family in _BUILDERS:
        return _BUILDERS[family](tokenizer, image)
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


def _for_pictures(kind: Any) -> Any:
    """A processor class that does without a video processor, which wants packages that pictures do not need."""

    def check(self: Any, name: str, argument: Any) -> Any:
        return None if name == "video_processor" else kind.check_argument_for_proper_class(self, name, argument)

    return type(kind.__name__, (kind,), {"check_argument_for_proper_class": check})


def _one_vision(tokenizer: PreTrainedTokenizerFast, image: int) -> tuple[Any, Any]:
    pinpoints = [[16, 16], [16, 32], [32, 16], [32, 32]]
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**_VISION, vision_use_head=False),
        text_config=Qwen2Config(**_text(tokenizer)),
        image_token_index=image,
        image_grid_pinpoints=pinpoints,
    )
    processor = _for_pictures(LlavaOnevisionProcessor)(
        image_processor=LlavaOnevisionImageProcessorPil(size=_SQUARE, image_grid_pinpoints=pinpoints),
        tokenizer=tokenizer,
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE,
    )
    return LlavaOnevisionForConditionalGeneration(config), processor


def _intern_vl(tokenizer: PreTrainedTokenizerFast, image: int) -> tuple[Any, Any]:
    config = InternVLConfig(
        vision_config={**_VISION, "image_size": [16, 16], "patch_size": [4, 4]},
        text_config={"model_type": "qwen3", "head_dim": 8, **_text(tokenizer)},
        image_token_id=image,
        image_seq_length=4,
    )
    processor = _for_pictures(InternVLProcessor)(
        image_processor=GotOcr2ImageProcessorPil(size=_SQUARE, crop_to_patches=True, max_patches=4),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=TEMPLATE,
    )
    return InternVLForConditionalGeneration(config), processor


def _qwen(tokenizer: PreTrainedTokenizerFast, image: int, *, deep: bool) -> tuple[Any, Any]:
    ids: dict[str, Any] = {
        "image_token_id": image,
        "video_token_id": tokenizer.convert_tokens_to_ids("<video>"),
        "vision_start_token_id": tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    }
    vision = {"depth": 3, "hidden_size": 24, "intermediate_size": 32, "num_heads": 2, "patch_size": 4}
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    text = _text(tokenizer, rope_parameters=rope)
    template = TEMPLATE.replace("<image>", "<|vision_start|><image><|vision_end|>")
    images = Qwen2VLImageProcessorPil(patch_size=4, merge_size=2, min_pixels=64, max_pixels=600)
    options = {"image_processor": images, "tokenizer": tokenizer, "chat_template": template}
    if deep:
        config: Any = Qwen3VLConfig(
            vision_config={
                **vision,
                "out_hidden_size": 32,
                "num_position_embeddings": 16,
                "deepstack_visual_indexes": [0, 1],
            },
            text_config={**text, "head_dim": 8},
            **ids,
        )
        return Qwen3VLForConditionalGeneration(config), _for_pictures(Qwen3VLProcessor)(**options)
    config = Qwen2_5_VLConfig(
        vision_config={**vision, "out_hidden_size": 32, "window_size": 16, "fullatt_block_indexes": [1]},
        text_config=text,
        **ids,
    )
    return Qwen2_5_VLForConditionalGeneration(config), _for_pictures(Qwen2_5_VLProcessor)(**options)


def _gemma(tokenizer: PreTrainedTokenizerFast, image: int) -> tuple[Any, Any]:
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    # The window is shorter than the prompts and longer than a picture.
    text = _text(tokenizer, head_dim=8, sliding_window=12, layer_types=kinds, query_pre_attn_scalar=8)
    config = Gemma3Config(
        vision_config=SiglipVisionConfig(**_VISION, vision_use_head=False),
        text_config={"model_type": "gemma3_text", **text},
        mm_tokens_per_image=4,
        image_token_index=image,
        boi_token_index=cast(int, tokenizer.convert_tokens_to_ids("<|boi|>")),
        eoi_token_index=cast(int, tokenizer.convert_tokens_to_ids("<|eoi|>")),
    )
    processor = cast(Any, Gemma3Processor)(
        image_processor=Gemma3ImageProcessorPil(size=_SQUARE),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=TEMPLATE.replace("<image>", "<|boi|>"),
    )
    return Gemma3ForConditionalGeneration(config), processor


def _mllama(tokenizer: PreTrainedTokenizerFast, image: int) -> tuple[Any, Any]:
    vision = {
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_global_layers": 1,
        "attention_heads": 2,
        "image_size": 16,
        "patch_size": 4,
        "vision_output_dim": 48,
        "intermediate_layers_indices": [0],
        "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1], [2, 2], [1, 3], [3, 1], [1, 4], [4, 1]],
    }
    text = _text(tokenizer, num_hidden_layers=4, cross_attention_layers=[1, 3], rope_parameters=_LLAMA3)
    # As in the real one, the picture's token lies behind the language model's vocabulary.
    text["vocab_size"] = image
    config = MllamaConfig(vision_config=vision, text_config=text, image_token_index=image)
    processor = cast(Any, MllamaProcessor)(
        image_processor=MllamaImageProcessorPil(size=_SQUARE, max_image_tiles=4),
        tokenizer=tokenizer,
        chat_template=TEMPLATE,
    )
    return MllamaForConditionalGeneration(config), processor


_SQUARE = {"height": 16, "width": 16}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 1e4,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_BUILDERS: dict[str, Callable[[PreTrainedTokenizerFast, int], tuple[Any, Any]]] = {
    "llava-onevision": _one_vision,
    "internvl": _intern_vl,
    "qwen2.5-vl": partial(_qwen, deep=False),
    "qwen3-vl": partial(_qwen, deep=True),
    "gemma3": _gemma,
    "mllama": _mllama,
}
