"""Chat templates of the shapes that real checkpoints have, written anew for the tiny tokenizers.

Each writes what its family's own writes for user, assistant and system turns with pictures; tools are left out.
"""

from __future__ import annotations

from copy import copy
from typing import Any

from tests.engines.transformers.tiny_models import build

CONTENT = (
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}PICTURE{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
)

LLAMA = (
    "{{ bos_token }}{% set seen = namespace(pictures=false) %}"
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{% set seen.pictures = true %}{% endif %}{% endfor %}{% endfor %}"
    "{% set system = messages[0]['content'][0]['text'] if messages[0]['role'] == 'system' else '' %}"
    "{% if seen.pictures and system %}"
    "{{ raise_exception('Prompting with images is incompatible with system messages.') }}{% endif %}"
    "{% if not seen.pictures %}<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
    "Today Date: 26 Jul 2024\n\n{{ system }}<|eot_id|>{% endif %}"
    "{% for message in messages %}{% if message['role'] != 'system' %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n" + CONTENT + "<|eot_id|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
"""Llama 3.2 Vision: headers; a system turn of its own unless there is a picture, with which it refuses one."""

QWEN = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    + CONTENT.replace("PICTURE", "<|vision_start|>PICTURE<|vision_end|>")
    + "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen2.5-VL: a system turn of its own unless there is one; a line feed behind each turn."""

GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set first = messages[0]['content'][0]['text'] + '\n\n' %}{% set said = messages[1:] %}"
    "{% else %}{% set first = '' %}{% set said = messages %}{% endif %}"
    "{% for message in said %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n{{ first if loop.first else '' }}"
    + CONTENT.replace("part['text']", "part['text'] | trim")
    + "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
"""Gemma 3: the system's text in the first user turn, the role `model`, texts stripped."""

SMOLVLM = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}:{% else %}: {% endif %}" + CONTENT + "<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""SmolVLM: roles as words; the prompt ends before the space that the reply begins with."""

LLAVA = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'] | upper }}: {% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}PICTURE\n{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }} {% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
"""LLaVA 1.5: no end of turn at all."""

TOKENS = (
    "<|im_start|>",
    "<|im_end|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|begin_of_text|>",
    "</s>",
)


def dressed(family: str, template: str) -> Any:
    """A family's tiny processor with another template (PICTURE stands for its mark) and the tokens that those write."""
    _, processor = build(family)
    processor.tokenizer.add_special_tokens({"additional_special_tokens": list(TOKENS)})
    made = copy(processor)
    made.chat_template = template.replace("PICTURE", processor.image_token)
    return made
