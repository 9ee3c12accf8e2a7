"""The loss of fine-tuning: weighted cross entropy on labelled tokens only."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from stepsight.training.encoding import IGNORED


def sft_loss(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Mean of the labelled tokens' losses, each by its weight; and the shares of right tokens and verdicts.

    Logits are computed at labelled positions only; most positions of a batch have no label.

    Args:
        model: an image-text-to-text model of transformers (`model.model` gives hidden states, `lm_head` logits).
        batch: as made by `encoding.collate`.
    """
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "weights")}
    hidden = model.model(**inputs, use_cache=False).last_hidden_state  # [rows, length, hidden]
    targets = batch["labels"][:, 1:]
    where = targets != IGNORED
    logits = model.lm_head(hidden[:, :-1][where]).float()  # [labelled, vocabulary]
    losses = functional.cross_entropy(logits, targets[where], reduction="none")
    weights = batch["weights"][:, 1:][where]
    loss = (losses * weights).sum() / weights.sum()
    verdicts = weights > 1
    right = (logits.argmax(-1) == targets[where]).float()
    return loss, {"answer_tokens_right": _mean(right[~verdicts]), "verdicts_right": _mean(right[verdicts])}


def _mean(values: torch.Tensor) -> torch.Tensor:
    """The mean, NaN if there is nothing."""
    return values.mean() if len(values) else torch.tensor(torch.nan)
