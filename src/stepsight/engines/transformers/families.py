"""Which models this engine runs, and why it refuses the others.

The engine slices, shares and re-batches key-values. That is exact where a key-value depends only on the tokens before
it and on its own position, counted 1, 2, 3; for each family listed as proven a test compares the engine with fresh
full forwards. A family that is not proven is refused by name, never run and hoped for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stepsight.errors import ModelError

_TEXT = ("llama", "qwen2", "mistral")
_ROPE = ("default", "linear", "llama3")
_ATTENTION = ("sdpa", "eager")


@dataclass(frozen=True)
class Family:
    """Where the parts of a model of this family are.

    `language` names the attribute of `model.model` that is the language model; `vision` the vision towers proven.
    """

    language: str
    vision: tuple[str, ...]


PROVEN: dict[str, Family] = {
    "llava": Family(language="language_model", vision=("siglip_vision_model", "clip_vision_model")),
    "idefics3": Family(language="text_model", vision=("idefics3_vision",)),
    "smolvlm": Family(language="text_model", vision=("smolvlm_vision",)),
}

REFUSED: dict[str, str] = {
    "mllama": "its cross-attention layers keep picture key-values apart from the text",
    "qwen2_vl": "its positions are three-dimensional and kept on the module between calls",
    "qwen2_5_vl": "its positions are three-dimensional and kept on the module between calls",
    "qwen3_vl": "its positions are three-dimensional and kept on the module between calls",
    "qwen3_vl_moe": "its positions are three-dimensional and kept on the module between calls",
    "qwen3_5": "its linear-attention layers cannot be cut back to a prefix",
    "glm4v": "its positions are three-dimensional and kept on the module between calls",
    "gemma3": "picture tokens attend in both directions and some layers see a sliding window",
    "gemma3n": "some layers share key-values and some see a sliding window",
    "paligemma": "the prompt attends in both directions",
}


def family_of(config: Any) -> Family:
    """The family of a model.

    Args:
        config: The configuration of a transformers image-text-to-text model.

    Raises:
        ModelError: The family, or a variant of it, is not proven to run exactly.
    """
    kind = str(getattr(config, "model_type", ""))
    family = PROVEN.get(kind)
    if family is None:
        reason = REFUSED.get(kind, "no test shows that its key-values can be shared exactly")
        raise _refusal(f"models of type '{kind}' are not supported: {reason}")
    text, vision = config.text_config, config.vision_config
    if text.model_type not in _TEXT:
        raise _refusal(f"language model '{text.model_type}' inside '{kind}' is not proven exact")
    if vision.model_type not in family.vision:
        raise _refusal(f"vision tower '{vision.model_type}' inside '{kind}' is not proven exact")
    layers = getattr(text, "layer_types", None) or ()
    window = getattr(text, "sliding_window", None)
    windowed = window is not None and getattr(text, "use_sliding_window", True)
    if windowed or set(layers) - {"full_attention"}:
        raise _refusal("its language model does not use full attention in every layer")
    rope = (getattr(text, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope not in _ROPE:
        raise _refusal(f"rotary positions of type '{rope}' change with the length of the text")
    attention = getattr(text, "_attn_implementation", None)
    if attention not in (*_ATTENTION, None):
        raise _refusal(f"attention implementation '{attention}' cannot take the engine's masks")
    return family


def _refusal(reason: str) -> ModelError:
    return ModelError(reason, hint=f"supported: {', '.join(PROVEN)}; others through a server, engine 'openai'")
