"""The losses: of fine-tuning, on labelled tokens and on marks where judging is taught; of reward models, on marks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional

from stepsight.errors import InputError
from stepsight.training.encoding.exchange import IGNORED
from stepsight.training.encoding.pictured import PICTURED
from stepsight.training.recipe.data import Marks

_TAUGHT = ("labels", "weights", "marks", PICTURED)
"""What of a batch is not for the model."""


def sft_loss(
    model: Any, batch: dict[str, torch.Tensor], whole: torch.Tensor | None = None
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Mean of the labelled tokens' losses, each by its weight; and the shares of right tokens and verdicts.

    Verdicts are the heaviest tokens of a batch, if any weighs more than a token of an answer.

    Logits are computed at labelled positions only; most positions of a batch have no label.

    Args:
        model: an image-text-to-text model of transformers (`model.model` gives hidden states, `lm_head` logits).
        batch: as made by `encoding.collate`.
        whole: weights of the whole batch of which `batch` is a part, [1]; then the result is this part's share of the
            whole batch's mean.
    """
    inputs = {name: value for name, value in batch.items() if name not in _TAUGHT}
    with blank_rows_unseen(model, batch):
        hidden = model.model(**inputs, use_cache=False).last_hidden_state  # [rows, length, hidden]
    targets = batch["labels"][:, 1:]
    where = targets != IGNORED
    logits = model.lm_head(hidden[:, :-1][where]).float()  # [labelled, vocabulary]
    losses = functional.cross_entropy(logits, targets[where], reduction="none")
    weights = batch["weights"][:, 1:][where]
    loss = (losses * weights).sum() / (weights.sum() if whole is None else whole[0])
    verdicts = (weights > 1) & (weights == weights.max())
    right = (logits.argmax(-1) == targets[where]).float()
    return loss, {"answer_tokens_right": _mean(right[~verdicts]), "verdicts_right": _mean(right[verdicts])}


@contextmanager
def blank_rows_unseen(model: Any, batch: dict[str, torch.Tensor]) -> Iterator[None]:
    """Let rows without pictures see nothing where a batch has rows with some (Mllama).

    A row by itself passes the cross-attention layers unchanged. In a batch with pictures the library's mask hides the
    blank picture that stands in for one, and then looks at all of it: a row that is masked throughout is not masked.
    What is there to look at is made zero here, so that what comes out of those layers is zero, as are its gradients.
    """
    if PICTURED not in batch:
        yield
        return
    projector = next(module for name, module in model.named_modules() if name.endswith("multi_modal_projector"))

    def blank(module: Any, inputs: Any, states: torch.Tensor) -> torch.Tensor:
        seen = batch[PICTURED].view(-1, *[1] * (states.ndim - 1))
        return states.where(seen, states.new_zeros(()))

    hook = projector.register_forward_hook(blank)
    try:
        yield
    finally:
        hook.remove()


def sft_weights(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """What `sft_loss` divides by, [1]."""
    return batch["weights"][:, 1:][batch["labels"][:, 1:] != IGNORED].sum()[None]


class MarkedLoss:
    """`sft_loss` plus the loss of marks on judged texts.

    Marks are read some layers before the end, along the difference of the embeddings of `yes` and `no`: what is known
    of each word there, the layers behind can still gather into the verdict.

    Args:
        model: a Llava; a hook is put on its text model. `close` takes it off again.
        tokenizer: gives the tokens of ` yes` and ` no`.
        marks: their weight in the loss, and the layer that they are read from.
    """

    def __init__(self, model: Any, tokenizer: Any, marks: Marks) -> None:
        self.marks = marks
        self.words = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in (" yes", " no")]
        self._hidden: list[torch.Tensor] = []
        layers = model.model.language_model.layers
        self._hook = layers[max(0, len(layers) - 1 - marks.layers_left)].register_forward_hook(self._keep)

    def __call__(
        self, model: Any, batch: dict[str, torch.Tensor], whole: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss, and the shares of right answer tokens, verdicts and marks; `whole` as `sft_loss` has it, [2]."""
        self._hidden.clear()
        loss, seen = sft_loss(model, batch, whole)
        if "marks" not in batch:
            return loss, seen
        where = batch["marks"] != IGNORED
        hidden = model.model.language_model.norm(self._hidden[0][where])
        yes, no = model.get_input_embeddings().weight[self.words]
        odds = (hidden @ (yes - no)).float()  # [marked]
        truth = batch["marks"][where].float()
        weights = torch.where(truth > 0, 1.0, self.marks.wrong)
        marks = functional.binary_cross_entropy_with_logits(odds, truth, weight=weights, reduction="sum")
        found = (odds < 0)[truth == 0].float()
        passed = (odds > 0)[truth > 0].float()
        return loss + self.marks.weight * marks / (weights.sum() if whole is None else whole[1]), {
            **seen,
            "marks_loss": marks / weights.sum(),
            "wrong_words_found": _mean(found),
            "right_words_passed": _mean(passed),
        }

    def weigh(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """What the two terms are divided by, [2]."""
        marks = batch.get("marks")
        wrong = 0.0 if marks is None else self.marks.wrong * (marks == 0).sum()
        right = 0.0 if marks is None else (marks == 1).sum()
        return torch.cat([sft_weights(batch), batch["weights"].new_tensor([wrong + right])])

    def close(self) -> None:
        """Take the hook off the model."""
        self._hook.remove()

    def _keep(self, layer: Any, inputs: Any, output: Any) -> None:
        self._hidden.append(output[0] if isinstance(output, tuple) else output)


class RewardLoss:
    """Cross entropy between two words, at marked words of an answer and at the ends of its stages.

    What is read there is what `judges.reward.WordsReward` reads later: the log-odds of the two as the next token.

    Args:
        tokenizer: makes one token of each word.
        words: what stands for right, and for wrong.
        wrong: what a wrong mark counts against a right one.

    Raises:
        InputError: a word is several tokens.
    """

    def __init__(self, tokenizer: Any, words: tuple[str, str], wrong: float) -> None:
        tokens = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
        if any(len(ids) != 1 for ids in tokens):
            raise InputError(
                f"{words[0]!r} and {words[1]!r} are not one token each", hint="take other `words` for the recipe"
            )
        self.words, self.wrong = [ids[0] for ids in tokens], wrong

    def __call__(
        self, model: Any, batch: dict[str, torch.Tensor], whole: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss, and how many ends of stages and words are told rightly, right and wrong ones apart.

        `whole` as `sft_loss` has it, [1].
        """
        inputs = {name: value for name, value in batch.items() if name not in _TAUGHT}
        with blank_rows_unseen(model, batch):
            hidden = model.model(**inputs, use_cache=False).last_hidden_state
        where = batch["marks"] != IGNORED
        right, wrong = model.lm_head.weight[self.words]
        odds = (hidden[where] @ (right - wrong)).float()  # [marked]
        truth = batch["marks"][where].float()
        weights = self._weights(batch)
        loss = functional.binary_cross_entropy_with_logits(odds, truth, weight=weights, reduction="sum")
        loss = loss / (weights.sum() if whole is None else whole[0])
        ends = batch["weights"][where] > 1
        told = (odds > 0) == (truth > 0)
        return loss, {
            "right_ends_passed": _mean(told[ends & (truth > 0)].float()),
            "wrong_ends_found": _mean(told[ends & (truth == 0)].float()),
            "right_words_passed": _mean(told[~ends & (truth > 0)].float()),
            "wrong_words_found": _mean(told[~ends & (truth == 0)].float()),
        }

    def weigh(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """What the loss is divided by, [1]."""
        return self._weights(batch).sum()[None]

    def _weights(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        where = batch["marks"] != IGNORED
        return batch["weights"][where] * torch.where(batch["marks"][where] > 0, 1.0, self.wrong)


def _mean(values: torch.Tensor) -> torch.Tensor:
    """The mean, NaN if there is nothing."""
    return values.mean() if len(values) else torch.tensor(torch.nan)
