"""From the messages of a request to a question: the last turn asks, what was said before it is its context.

The id is a hash of what is asked, as `stepsight ask` makes it; so the same picture, question, method and seed give the
same answer here and there.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from stepsight.api import asked_id
from stepsight.records import Question
from stepsight.serving.chat_requests import ChatMessage, ChatRequest, ImageFilePart, ImageURLPart
from stepsight.serving.limits import Limits
from stepsight.serving.picture_shelf import Lease, PictureShelf, Shelved
from stepsight.serving.refusals import Refused, invalid
from stepsight.serving.remote_pictures import RemotePictures, is_remote
from stepsight.serving.speaking import heard


@dataclass(frozen=True)
class Asked:
    """A question with its pictures, and what its asker should know."""

    question: Question
    pictures: tuple[Shelved, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reader:
    """Reads conversations. `passes_system`: messages of the system go to the model, which otherwise never sees them."""

    limits: Limits
    shelf: PictureShelf
    remote: RemotePictures
    passes_system: bool = False

    async def read(self, request: ChatRequest, lease: Lease) -> Asked:
        """The question of a request; its pictures stay as long as the lease.

        Raises:
            Refused: the conversation cannot be used.
            PictureError: a picture cannot be used.
        """
        said, notes = self._heard(request.messages)
        places = [(place, part) for place, message in enumerate(said) for part in message.pictures]
        if len(places) > self.limits.pictures:
            raise invalid(f"more than {self.limits.pictures} pictures in a request", "messages", "too_many_images")
        pictures = [await self._picture(part, lease) for _, part in places]
        shown = [sum(place == one for one, _ in places) for place in range(len(said))]
        texts = [_text_of(message) for message in said]
        if not texts[-1]:
            raise invalid("the last message asks nothing", "messages")
        earlier = [
            {"role": "system" if message.role == "developer" else message.role, "text": text, "images": count}
            for message, text, count in zip(said[:-1], texts[:-1], shown[:-1], strict=True)
        ]
        seen = [picture.seen for picture in pictures]
        alone = not earlier and len(seen) == 1
        question = Question(
            id=asked_id(seen[0] if alone else seen, texts[-1], [], *([earlier] if earlier else [])),
            text=texts[-1],
            images=tuple(picture.path for picture in pictures),
            source="chat",
            meta={"earlier": earlier} if earlier else {},
        )
        return Asked(question, tuple(pictures), notes)

    def _heard(self, messages: Sequence[ChatMessage]) -> tuple[list[ChatMessage], tuple[str, ...]]:
        """The messages that the model is given, checked, and what is to be said about the others."""
        if len(messages) > self.limits.turns:
            raise invalid(f"more than {self.limits.turns} messages", "messages", "too_many_messages")
        if sum(len(message.text) for message in messages) > self.limits.characters:
            raise Refused(400, f"more than {self.limits.characters} characters", "context_length_exceeded", "messages")
        if messages[-1].role != "user":
            raise invalid("the last message must be the user's: an answer is never continued here", "messages")
        ours = [message for message in messages if message.role not in ("system", "developer")]
        for message in messages:
            if message.role != "user" and message.pictures:
                raise invalid("pictures stand in messages of the user only", "messages")
        if len(ours) == len(messages) or self.passes_system:
            return list(messages), ()
        return ours, ("messages of the system are not given to the model",)

    async def _picture(self, part: ImageURLPart | ImageFilePart, lease: Lease) -> Shelved:
        if isinstance(part, ImageFilePart):
            return lease.hold(self.shelf.uploaded(part.image_file.file_id).picture)
        if is_remote(part.url):
            return await lease.put(await self.remote.fetch(part.url))
        return await lease.put(await asyncio.to_thread(_decoded, part.url))


def _decoded(url: str) -> bytes:
    """The bytes of a `data:` URL; what it says of its type is not looked at."""
    head, comma, data = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise invalid("the data URL of a picture must say ;base64,", "messages", "invalid_image_url")
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("the data URL of a picture is no base64", "messages", "invalid_image_url") from None


def _text_of(message: ChatMessage) -> str:
    if message.role != "assistant":
        return message.text.strip()
    return heard(message.reasoning_content or message.reasoning or "", message.text.strip())
