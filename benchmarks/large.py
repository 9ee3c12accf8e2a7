"""A random model of the shape of SmolVLM-256M, with a tokenizer of as many tokens, made without any download.

Its texts are noise and it never writes a tag, so searches over it run with stages of a set number of tokens.
"""

from __future__ import annotations

from itertools import islice, product
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import Idefics3Processor, PreTrainedTokenizerFast, SmolVLMConfig, SmolVLMForConditionalGeneration
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

VOCABULARY = 49_280
TILE = 512
TEMPLATE = (
    "<s>{% for message in messages %}<|{{ message['role'] }}|>{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<pad>", "<s>", "<|end|>", "<|user|>", "<|assistant|>", "<image>", "<fake_token_around_image>"]
SPECIAL += ["<global-img>", "<end_of_utterance>"]
ACROSS = 8
"""The most tiles in a row: the processor makes no picture wider than 4,096 pixels."""
SPECIAL += [f"<row_{row}_col_{column}>" for row in range(1, ACROSS + 1) for column in range(1, ACROSS + 1)]


def large_model(tiles: int) -> tuple[Any, Any]:
    """The model in float32, about 256 million parameters, and its processor.

    A picture takes 64 tokens for each of its tiles, and as many for the whole; see `picture`.
    """
    tokenizer = _tokenizer()
    image = cast(int, tokenizer.convert_tokens_to_ids("<image>"))
    text = {
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": TILE,
        "patch_size": 16,
    }
    torch.manual_seed(0)
    config: Any = SmolVLMConfig(vision_config=vision, text_config=text, image_token_id=image, scale_factor=4)
    model = cast(Any, SmolVLMForConditionalGeneration)(config).eval()
    # As sure of the next token as a trained model: a nucleus is a few tokens, not nearly all.
    model.lm_head.weight.data = model.lm_head.weight.detach() * 6
    # Nobody ends its turn: all answers have the length that is asked for.
    model.generation_config.eos_token_id = []
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    processor = Idefics3Processor(
        image_processor=Idefics3ImageProcessorPil(
            size={"longest_edge": max(_grid(tiles)) * TILE}, max_image_size={"longest_edge": TILE}
        ),
        tokenizer=tokenizer,
        image_seq_len=64,
        chat_template=TEMPLATE,
    )
    return model, processor


def picture(tiles: int, seed: int = 0) -> Image.Image:
    """Noise that is cut into `tiles` tiles (above 8, the next multiple of 8), and shown once more as a whole."""
    columns, rows = _grid(tiles)
    noise = np.random.default_rng(seed).integers(0, 255, (32 * rows, 32 * columns, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((TILE * columns, TILE * rows))


def _grid(tiles: int) -> tuple[int, int]:
    """Columns and rows."""
    return min(tiles, ACROSS), -(-tiles // ACROSS)


def _tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE whose merges are pairs of bytes, as many as the vocabulary has room for."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = list(islice(product(alphabet, alphabet), VOCABULARY - len(alphabet) - len(SPECIAL)))
    vocabulary = {symbol: index for index, symbol in enumerate(alphabet)}
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    made: PreTrainedTokenizerFast = cast(Any, PreTrainedTokenizerFast)(
        tokenizer_object=backend, bos_token="<s>", eos_token="<|end|>", pad_token="<pad>"
    )
    return made
