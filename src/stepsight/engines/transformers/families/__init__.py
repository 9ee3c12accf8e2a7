"""Which models this engine runs, and why it refuses the others.

The engine slices, shares and re-batches key-values. That is exact where a key-value depends only on what stands before
it; for each family listed as proven a test compares the engine with the library's `generate` and with fresh full
forwards. A family that is not proven is refused by name, never run and hoped for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stepsight.engines.transformers.attention import NAME
from stepsight.engines.transformers.families.causal import Family, Idefics3, InternVL, Llava, LlavaOneVision
from stepsight.engines.transformers.families.gemma import Gemma3
from stepsight.engines.transformers.families.mllama import Mllama
from stepsight.engines.transformers.families.qwen import Qwen3VL, Qwen25VL
from stepsight.errors import ModelError

__all__ = ["PROVEN", "REFUSED", "Family", "family_of"]

_ROPE = ("default", "linear", "llama3", "mrope")
_ATTENTION = ("sdpa", "eager", NAME)

PROVEN: dict[str, type[Family]] = {
    "gemma3": Gemma3,
    "idefics3": Idefics3,
    "internvl": InternVL,
    "llava": Llava,
    "llava_onevision": LlavaOneVision,
    "mllama": Mllama,
    "qwen2_5_vl": Qwen25VL,
    "qwen3_vl": Qwen3VL,
    "smolvlm": Idefics3,
}

REFUSED: dict[str, str] = {
    "qwen3_5": "its linear-attention layers cannot be cut back to a prefix",
    "gemma3n": "some layers share key-values and some see a sliding window",
    "paligemma": "the prompt attends in both directions",
}


def family_of(config: Any) -> type[Family]:
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
    if text.model_type not in family.text:
        raise _refusal(f"language model '{text.model_type}' inside '{kind}' is not proven exact")
    if vision.model_type not in family.vision:
        raise _refusal(f"vision tower '{vision.model_type}' inside '{kind}' is not proven exact")
    layers = getattr(text, "layer_types", None) or ()
    window = getattr(text, "sliding_window", None)
    windowed = window is not None and getattr(text, "use_sliding_window", True)
    if not family.windows and (windowed or set(layers) - {"full_attention"}):
        raise _refusal("its language model does not use full attention in every layer")
    if getattr(text, "final_logit_softcapping", None) is not None:
        raise _refusal("its logits are capped behind the language model's head")
    if getattr(text, "use_bidirectional_attention", False):
        raise _refusal("its language model attends in both directions")
    for rope in _rope_types(getattr(text, "rope_parameters", None) or {}):
        if rope not in _ROPE:
            raise _refusal(f"rotary positions of type '{rope}' change with the length of the text")
    attention = getattr(text, "_attn_implementation", None)
    if attention not in (*_ATTENTION, None):
        raise _refusal(f"attention implementation '{attention}' cannot take the engine's masks")
    return family


def _rope_types(parameters: Mapping[str, Any]) -> Iterator[str]:
    """The kinds of rotary positions, which may differ between kinds of layers."""
    inner = [value for value in parameters.values() if isinstance(value, Mapping)]
    for one in inner or [parameters]:
        yield str(one.get("rope_type", "default"))


def _refusal(reason: str) -> ModelError:
    return ModelError(reason, hint=f"supported: {', '.join(PROVEN)}; others through a server, engine 'openai'")
