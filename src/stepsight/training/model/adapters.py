"""LoRA through PEFT: adapters on the text model's linear layers, and weights with the adapters merged in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils import load_peft_weights
from torch import Tensor, nn

from stepsight.errors import InputError, ModelError
from stepsight.training.model.towers import name_of, text_model
from stepsight.training.recipe.steps import Lora


def add_adapters(model: Any, lora: Lora) -> PeftModel:
    """Put adapters on the text model; everything else no longer learns, the vision tower included.

    Args:
        model: an image-text-to-text model of transformers; it is changed in place.
        lora: their rank, and which layers get one.

    Raises:
        InputError: a name of `lora.targets` is the end of no linear layer's name in the text model.
    """
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=target_layers(model, lora.targets),
        bias="none",
    )
    return get_peft_model(model, config)


def target_layers(model: Any, ends: list[str]) -> list[str]:
    """Full names of the text model's linear layers, or of those whose names end as `ends` say.

    Full, because vision towers name their layers alike.

    Raises:
        InputError: no layer's name ends as one of them says.
    """
    text = text_model(model)
    inside = name_of(model, text)
    linear = [name for name, module in text.named_modules() if isinstance(module, nn.Linear)]
    known = sorted({name.rpartition(".")[2] for name in linear})
    for end in ends:
        if not any(_ends(name, end) for name in linear):
            raise InputError(f"lora.targets: no linear layer of the text model ends in {end}", hint=", ".join(known))
    return [f"{inside}.{name}" for name in linear if not ends or any(_ends(name, end) for end in ends)]


def load_adapters(model: PeftModel, folder: Path) -> None:
    """Load the adapters of a checkpoint into a model in training.

    Raises:
        ModelError: they are not those of the model.
    """
    weights = load_peft_weights(str(folder), device="cpu")
    # PEFT reports the whole base model as missing, so names are compared here.
    if weights.keys() != get_peft_model_state_dict(model).keys():
        raise ModelError(
            f"the adapters in {folder} are not those of the model in training",
            hint="start the run over, or give it a new folder",
        )
    set_peft_model_state_dict(model, weights)


def save_adapters(model: PeftModel, weights: dict[str, Tensor], folder: Path) -> None:
    """Write a folder that PEFT loads over the base model.

    Args:
        model: in training.
        weights: all of the model's, or the adapters', whole (see `saving.gather_weights`).
        folder: where to.
    """
    model.save_pretrained(str(folder), state_dict=weights)


def merge_adapters(base: Any, folder: Path) -> Any:
    """The base model with the adapters of a folder in its weights: a model as if all of it had been trained.

    Args:
        base: the model that training started from, changed in place.
        folder: as written by `save_adapters`.
    """
    return PeftModel.from_pretrained(base, str(folder)).merge_and_unload()


def _ends(name: str, end: str) -> bool:
    return name == end or name.endswith(f".{end}")
