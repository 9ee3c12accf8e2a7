"""Where the vision tower and the text model of any family are, to freeze them or to train nothing else."""

from __future__ import annotations

from typing import Any

from torch.nn import Module, Parameter

from stepsight.errors import ModelError


def vision_tower(model: Any) -> Module:
    """The part that sees: pictures to features, without what projects these into the text model where that is apart.

    Raises:
        ModelError: the library does not find one.
    """
    return _found(model, model.get_encoder(modality="image"), "vision tower")


def text_model(model: Any) -> Module:
    """The part that reads and writes: embeddings and layers, without the head.

    Raises:
        ModelError: the library does not find one.
    """
    return _found(model, model.get_decoder(), "text model")


def freeze(model: Any, *, vision: bool, text: bool) -> None:
    """Leave the vision tower, or the text model with embeddings and head, as they are.

    Raises:
        ModelError: the model has no such part.
    """
    if vision:
        vision_tower(model).requires_grad_(False)
    if text:
        text_model(model).requires_grad_(False)
        model.get_output_embeddings().requires_grad_(False)


def reached_by_pictures(model: Any) -> list[Parameter]:
    """The parameters that a batch without a picture leaves without gradients.

    All outside of the text model and the head; and inside, the layers that attend to pictures alone (Mllama's).
    """
    text = text_model(model)
    words = {id(one) for part in (text, model.get_output_embeddings()) for one in part.parameters()}
    crossing = getattr(model.config.get_text_config(), "cross_attention_layers", None) or ()
    for place in crossing:
        words -= {id(one) for one in text.layers[place].parameters()}  # type: ignore[union-attr, index]
    return [one for one in model.parameters() if id(one) not in words]


def name_of(model: Module, part: Module) -> str:
    """The dotted name by which a model knows one of its parts."""
    return next(name for name, module in model.named_modules() if module is part)


def _found(model: Any, part: Any, what: str) -> Module:
    if part is model or part is model.base_model:
        raise ModelError(f"{type(model).__name__} has no {what} that the library knows", hint="leave it trainable")
    return part
