"""Key-values of token sequences, kept as a radix tree under a memory bound.

A sequence is a row of 64-bit keys: a token id, or, at a picture position, a number drawn from the picture's content
(see `prompts.py`). Sequences that begin alike share the tensors of what they share, so N candidates of one prompt
cost the prompt once. Causal key-values depend only on what stands before them; therefore any prefix of a stored
sequence, cut at any token, serves.

Eviction is least recently used, leaves first. A node is touched whenever something below it is, and after it; the
oldest node is therefore always a leaf.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

Keys = npt.NDArray[np.int64]

Take = Callable[[int, int], torch.Tensor]
"""Key-values of positions [start, end): a fresh tensor of shape (layers, 2, heads, end - start, head_dim)."""


def common_length(first: Keys, second: Keys) -> int:
    """How many leading keys two sequences share."""
    shortest = min(len(first), len(second))
    differs = np.flatnonzero(first[:shortest] != second[:shortest])
    return int(differs[0]) if differs.size else shortest


@dataclass(eq=False)
class _Node:
    keys: Keys
    values: torch.Tensor
    parent: _Node | None
    children: dict[int, _Node] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes


_LENGTH_DIM = 3


class PrefixStore:
    """Finds the longest stored prefix of a sequence; never holds more than `max_bytes`.

    Not thread-safe: the one thread that runs the model owns it.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._roots: dict[int, _Node] = {}
        self._recency: OrderedDict[_Node, None] = OrderedDict()

    def __len__(self) -> int:
        """Number of segments held."""
        return len(self._recency)

    def clear(self) -> None:
        """Forget everything."""
        self._roots.clear()
        self._recency.clear()
        self.nbytes = 0

    def match(self, keys: Keys) -> tuple[int, list[torch.Tensor]]:
        """The longest stored prefix of `keys`.

        Returns:
            Its length in tokens and its key-values in order, each of shape (layers, 2, heads, tokens, head_dim).
            The tensors are views of the store: copy them before anything else is stored.
        """
        length = 0
        parts: list[torch.Tensor] = []
        node: _Node | None = None
        children = self._roots
        while length < len(keys) and (child := children.get(int(keys[length]))) is not None:
            shared = common_length(child.keys, keys[length:])
            parts.append(child.values.narrow(_LENGTH_DIM, 0, shared))
            length += shared
            node, children = child, child.children
            if shared < len(child.keys):
                break
        self._touch(node)
        return length, parts

    def insert(self, keys: Keys, take: Take) -> int:
        """Store `keys`; `take` is asked only for the positions that are not stored yet.

        Returns:
            How many leading keys of the sequence are stored afterwards; fewer than all where the bound is too tight.
        """
        length = 0
        parent: _Node | None = None
        children = self._roots
        while length < len(keys) and (child := children.get(int(keys[length]))) is not None:
            shared = common_length(child.keys, keys[length:])
            length += shared
            if shared < len(child.keys):
                if length == len(keys):
                    self._touch(child)
                    return length
                child = self._split(child, shared)
            parent, children = child, child.children
        self._touch(parent)
        if length == len(keys):
            return length
        values = take(length, len(keys))
        node = _Node(keys[length:].copy(), values, parent)
        if not self._make_room(node.nbytes, parent):
            return length
        children[int(keys[length])] = node
        self._recency[node] = None
        self.nbytes += node.nbytes
        self._touch(node)
        return len(keys)

    def _split(self, node: _Node, at: int) -> _Node:
        """Cut `node` in two and return the upper half. Both halves are copies, so that each can be freed alone."""
        length = len(node.keys)
        head = _Node(node.keys[:at].copy(), node.values.narrow(_LENGTH_DIM, 0, at).clone(), node.parent)
        siblings = self._roots if node.parent is None else node.parent.children
        siblings[int(head.keys[0])] = head
        node.keys = node.keys[at:].copy()
        node.values = node.values.narrow(_LENGTH_DIM, at, length - at).clone()
        node.parent = head
        head.children[int(node.keys[0])] = node
        self._recency[head] = None
        return head

    def _touch(self, node: _Node | None) -> None:
        while node is not None:
            self._recency.move_to_end(node)
            node = node.parent

    def _make_room(self, nbytes: int, keep: _Node | None) -> bool:
        if nbytes > self.max_bytes:
            return False
        path = set()
        while keep is not None:
            path.add(keep)
            keep = keep.parent
        while self.nbytes + nbytes > self.max_bytes:
            oldest = next(iter(self._recency))
            if oldest in path:
                return False
            self._drop(oldest)
        return True

    def _drop(self, leaf: _Node) -> None:
        siblings = self._roots if leaf.parent is None else leaf.parent.children
        del siblings[int(leaf.keys[0])]
        del self._recency[leaf]
        self.nbytes -= leaf.nbytes
