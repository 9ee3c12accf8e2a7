"""What `stepsight doctor` finds: the machine, the model, whether it fits, whether it runs exactly, and what is wrong.

Sizes are in bytes. None stands for what cannot be told here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from stepsight.records import Record


class Problem(Record):
    """Something wrong or slow. A `serious` one means that the model cannot be used as asked."""

    what: str
    next: str
    serious: bool = False


class Chosen(Record):
    """A choice and its reason."""

    value: str
    why: str


class Memory(Record):
    """Memory of the machine or of an accelerator."""

    total: int | None = None
    free: int | None = None


class Cpu(Record):
    """`cores`: those that this process may use. `flags`: instructions that matter here. `bf16`: has it such ones."""

    name: str
    cores: int | None
    flags: tuple[str, ...] = ()
    bf16: bool | None = None


class Machine(Record):
    """`packages` maps the packages that matter to their versions; None where one is not installed."""

    packages: Mapping[str, str | None]
    python: str
    system: str
    cpu: Cpu
    memory: Memory


class Accelerator(Record):
    """A device that torch can use beside the CPU."""

    device: str
    name: str
    memory: Memory


class Torch(Record):
    """What torch sees. `why_none` is the reason where there is no accelerator."""

    threads: int
    accelerators: tuple[Accelerator, ...] = ()
    why_none: str = ""


class Shape(Record):
    """What a model's configuration says; the weights are not read for it.

    `reason` says why a family that is not `proven` is refused, `instead` what to do. `weights` and `token` (key-values
    of one token) are in bytes, so is `packed`: a copy of the language model's weights laid out for the processor, made
    where `packed_from` bytes are free beside the weights. None: this model gets none.
    """

    family: str
    language: str
    vision: str
    proven: bool
    reason: str = ""
    instead: str = ""
    device: Chosen
    dtype: Chosen
    attention: Chosen
    quantize: Chosen
    parameters: int | None = None
    weights: int | None = None
    context: int | None = None
    token: int | None = None
    packed: int | None = None
    packed_from: int | None = None


class Room(Record):
    """Whether it fits: weights, cache and the rows of a full batch at the model's full context.

    `packed`: bytes of the copy of the weights that is laid out for the processor; 0 where none is made. `cache_tokens`:
    so many tokens' key-values the prefix store holds. `rows_at_full_context`: so many would fit beside weights, their
    copy and cache.
    """

    where: str
    memory: Memory
    weights: int
    cache: int
    cache_tokens: int
    max_rows: int
    rows: int
    rows_at_full_context: int | None
    fits: Literal["yes", "not all rows", "no", "unknown"]
    packed: int = 0

    @property
    def needed(self) -> int:
        """The upper bound of what is used."""
        return self.weights + self.packed + self.cache + self.rows


class SelfCheck(Record):
    """The engine against the library, on the bundled picture.

    `tokens_equal`: greedy decoding on shared key-values gave the tokens of the library's `generate`; if not,
    `differs_at` is the first other token and `gap` how much more likely (nats) a full forward pass finds the library's.
    `pictures_differ`: another picture under the same text gave other scores. `error`: the largest difference (nats) of
    those scores from a full forward pass. `rounding`: the difference that the dtype explains.
    """

    tokens: int
    tokens_equal: bool
    differs_at: int | None = None
    gap: float | None = None
    reused: int
    pictures_differ: bool
    error: float
    rounding: float
    engine_seconds: float
    library_seconds: float

    @property
    def exact(self) -> bool:
        """Whether nothing differs by more than rounding."""
        close = self.tokens_equal or (self.gap is not None and abs(self.gap) <= self.rounding)
        return close and self.pictures_differ and self.error <= self.rounding


class Model(Record):
    """The model asked for. `source` is the folder or hub id that its name stands for."""

    name: str
    source: str
    revision: str | None = None
    judge_prompts: str | None = None
    note: str = ""
    shape: Shape | None = None
    room: Room | None = None
    loading_seconds: float | None = None
    check: SelfCheck | None = None


class Diagnosis(Record):
    """Everything found; parts that could not be found are None, and `problems` say why."""

    machine: Machine
    torch: Torch | None = None
    model: Model
    problems: tuple[Problem, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether the model can be used as asked."""
        return not any(problem.serious for problem in self.problems)
