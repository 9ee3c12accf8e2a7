"""pico: a small LLaVA (SigLIP-style vision tower, Llama text model) with a tokenizer of its own.

Any text encodes, byte by byte if need be; the words of the world, its grid cells and the stage tags are single tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from stepsight.stages import STAGES
from stepsight.training.recipe.train import PicoSizes
from stepsight.world.questions import SYNONYMS
from stepsight.world.scene import CELLS, VALUES
from stepsight.world.split import pose

IMAGE, PAD, END, USER, ASSISTANT, SYSTEM = "<image>", "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"

CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|{{ message['role'] }}|>
{%- if message['content'] is string -%}{{ message['content'] }}
{%- else -%}
{%- for part in message['content'] if part['type'] == 'image' -%}<image>{%- endfor -%}
{%- for part in message['content'] if part['type'] == 'text' -%}{{ part['text'] }}{%- endfor -%}
{%- endif -%}
{%- if not (loop.last and continue_final_message) -%}<|end|>{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"""

PIECES = "|".join(
    (
        r" (?=[A-D]\.\s)",
        r"[A-D]\.(?=\s)",
        r" ?[A-G][1-7](?![0-9A-Za-z])",
        r" ?\p{L}+",
        r" ?\p{N}{1,2}",
        r" ?[^\s\p{L}\p{N}]",
        r"\s+",
    )
)
"""How text falls apart before byte pairs are merged: letters of options with their full stop, grid cells, words,
numbers of up to two digits, single marks. An option's letter keeps no space in front, as words do: it stands behind a
line feed in the question and behind a space in the answer, and only the very same token is easily found again."""

OPTIONS = ("A. ", "B. ", "C. ", "D. ")


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that knows the world's words; deterministic."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        _corpus(),
        trainers.BpeTrainer(
            vocab_size=2000,
            min_frequency=2,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=[PAD, END, USER, ASSISTANT, SYSTEM, IMAGE],
        ),
    )
    # Tags are ordinary tokens, not special ones: decoding must keep them.
    tags = [tag for stage in STAGES for tag in (stage.open, stage.close)]
    tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in tags])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT, SYSTEM, IMAGE],
        clean_up_tokenization_spaces=False,
    )


def _corpus() -> Iterator[str]:
    """Enough of the world's language for every word of it to be merged into one token."""
    words = [word for values in VALUES.values() for word in values]
    words += [synonym for synonyms in SYNONYMS.values() for synonym in synonyms]
    words += [word + "s" for word in words] + list(CELLS) + [str(number) for number in range(21)]
    words += ["yes", "no", "Compare", "correct", "option", *"ABCDEFG", *OPTIONS, "\n\n", "\n"]
    words += [stage.value for stage in STAGES] + ["ANSWER", "Is", "the", "?", ":"]
    for _ in range(20):
        yield from words
        yield from (" " + word for word in words)
    for split in ("train",):
        for index in range(4000):
            posed = pose(split, seed=-1, index=index)
            yield posed.asked.text
            yield from (" " + text for text in posed.stages.values())


def build_processor(sizes: PicoSizes, tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Pictures to `sizes.picture` square, values to [-1, 1]; text by the tokenizer; one `<image>` token per patch."""
    side = {"height": sizes.picture, "width": sizes.picture}
    pictures = SiglipImageProcessorPil(size=side, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_convert_rgb=True)
    return LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=sizes.patch,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
        image_token=IMAGE,
    )


def build_model(sizes: PicoSizes, tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """A pico with random weights (seed torch before the call)."""
    vision = SiglipVisionConfig(
        hidden_size=sizes.vision_hidden,
        intermediate_size=sizes.vision_hidden * 4,
        num_hidden_layers=sizes.vision_layers,
        num_attention_heads=sizes.vision_heads,
        image_size=sizes.picture,
        patch_size=sizes.patch,
        vision_use_head=False,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=sizes.text_hidden,
        intermediate_size=sizes.text_mlp,
        num_hidden_layers=sizes.text_layers,
        num_attention_heads=sizes.text_heads,
        num_key_value_heads=sizes.text_heads,
        max_position_embeddings=sizes.context,
        rope_parameters={"rope_type": "default", "rope_theta": sizes.rope_theta},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=int(tokenizer.vocab[IMAGE]),
        image_seq_length=(sizes.picture // sizes.patch) ** 2,
        projector_hidden_act="gelu",
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.bos_token_id = None
    return model


def save_model(model: LlavaForConditionalGeneration, processor: LlavaProcessor, folder: Path) -> None:
    """Write an ordinary Hugging Face folder."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
