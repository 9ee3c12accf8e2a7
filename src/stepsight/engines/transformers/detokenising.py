"""From tokens to text, one token at a time, never showing half a character.

Byte-level tokenizers (GPT-2, Llama 3, Qwen, SmolLM) map every token to fixed bytes, so a table and an incremental
UTF-8 decoder suffice. For others (sentencepiece) the last few tokens are decoded again at each step.
"""

from __future__ import annotations

import codecs
import json
from typing import Any, Protocol

REPLACEMENT = "�"


class TextStream(Protocol):
    """The growing text of one continuation."""

    @property
    def pending(self) -> bool:
        """Whether tokens were read whose text is not complete yet."""
        ...

    def push(self, token: int) -> str:
        """The text that this token completes, maybe none."""
        ...

    def flush(self) -> str:
        """What is left at the end; half a character becomes U+FFFD."""
        ...


class Detokenizer:
    """Starts text streams for one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._table: dict[int, bytes] = {}
        self._bytes = _character_bytes() if _is_byte_level(tokenizer) else None
        self._added = {int(index): str(token.content) for index, token in tokenizer.added_tokens_decoder.items()}

    def stream(self) -> TextStream:
        """A fresh stream."""
        return _WindowStream(self._tokenizer) if self._bytes is None else _ByteStream(self)

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token; byte-level tokenizers only."""
        known = self._table.get(token)
        if known is None:
            known = self._table[token] = self._look_up(token)
        return known

    def _look_up(self, token: int) -> bytes:
        if token in self._added:
            return self._added[token].encode()
        symbols = self._tokenizer.convert_ids_to_tokens(token)
        if symbols is None:
            # Models often have more output rows than the tokenizer has tokens.
            return b""
        assert self._bytes is not None
        # A character outside the byte alphabet is a token that was put into the vocabulary as it is.
        return b"".join(self._bytes.get(symbol) or symbol.encode() for symbol in symbols)


class _ByteStream:
    def __init__(self, detokenizer: Detokenizer) -> None:
        self._detokenizer = detokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    @property
    def pending(self) -> bool:
        return bool(self._decoder.getstate()[0])

    def push(self, token: int) -> str:
        return self._decoder.decode(self._detokenizer.token_bytes(token))

    def flush(self) -> str:
        return self._decoder.decode(b"", final=True)


class _WindowStream:
    """Decodes the tokens since the last two complete texts; the first of the two gives the second its context."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._context = 0

    @property
    def pending(self) -> bool:
        return self._context < len(self._ids)

    def push(self, token: int) -> str:
        self._ids.append(token)
        text = self._new_text()
        if not text or text.endswith(REPLACEMENT):
            return ""
        self._settle()
        return text

    def flush(self) -> str:
        text = self._new_text() if self.pending else ""
        self._settle()
        return text

    def _settle(self) -> None:
        self._ids = self._ids[self._context :]
        self._context = len(self._ids)

    def _new_text(self) -> str:
        before = self._decode(self._ids[: self._context])
        return self._decode(self._ids)[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        text = self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(text)


def _is_byte_level(tokenizer: Any) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    decoder = json.loads(backend.to_str()).get("decoder") or {}
    parts = decoder.get("decoders", [decoder]) if decoder.get("type") == "Sequence" else [decoder]
    return [part.get("type") for part in parts] == ["ByteLevel"]


def _character_bytes() -> dict[str, bytes]:
    """The GPT-2 alphabet: printable bytes stand for themselves, the others for characters from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {chr(byte): bytes([byte]) for byte in printable}
    hidden = [byte for byte in range(256) if byte not in set(printable)]
    table.update({chr(256 + place): bytes([byte]) for place, byte in enumerate(hidden)})
    return table
