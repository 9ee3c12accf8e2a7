"""What a client may send to `/v1/chat/completions`: OpenAI's fields, and `search`, which says how to search.

Fields that would change an answer in a way that is not offered here are refused by name; unknown fields are ignored,
and their names stand in the reply, for no client sends the same ones.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stepsight.serving.methods import SEPARATOR, Method, parse_method
from stepsight.serving.refusals import Refused, invalid

EventKind = Literal["stage_started", "text", "candidate", "verdict", "stage_chosen", "retrace"]
EVENTS: tuple[EventKind, ...] = ("stage_started", "candidate", "verdict", "stage_chosen", "retrace")
"""Those that are sent to clients that ask for events and do not say which."""

_Events = bool | list[EventKind]
_MOST_NAMES = 20


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class TextPart(_Part):
    """A stretch of text."""

    type: Literal["text"]
    text: str


class ImageURL(_Part):
    """A picture by `data:` URL, or by an `https:` one on the server's allow list. `detail` is not looked at."""

    url: str
    detail: str | None = None


class ImageURLPart(_Part):
    """A picture in a message; some clients give the URL alone."""

    type: Literal["image_url"]
    image_url: ImageURL | str

    @property
    def url(self) -> str:
        """The URL."""
        return self.image_url if isinstance(self.image_url, str) else self.image_url.url


class ImageFile(_Part):
    """A picture that was uploaded before; see `/v1/files`."""

    file_id: str = Field(max_length=100)


class ImageFilePart(_Part):
    """An uploaded picture in a message."""

    type: Literal["image_file"]
    image_file: ImageFile


ContentPart = Annotated[TextPart | ImageURLPart | ImageFilePart, Field(discriminator="type")]


class ChatMessage(BaseModel):
    """One message of a conversation. `reasoning_content` (or `reasoning`) of an assistant is what it was sent as."""

    model_config = ConfigDict(frozen=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[ContentPart] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Any] | None = None

    @property
    def parts(self) -> list[ContentPart]:
        """The content as parts."""
        if isinstance(self.content, str):
            return [TextPart(type="text", text=self.content)]
        return self.content or []

    @property
    def text(self) -> str:
        """All its texts, one a line."""
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def pictures(self) -> list[ImageURLPart | ImageFilePart]:
        """Its pictures, in order."""
        return [part for part in self.parts if not isinstance(part, TextPart)]


class StreamOptions(BaseModel):
    """Of streams: `include_usage` as with OpenAI; `include_events` for what the search does."""

    include_usage: bool | None = None
    include_events: _Events | None = None


class BudgetSpec(BaseModel):
    """The most that a search may use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    seconds: float | None = Field(default=None, gt=0, le=86_400, allow_inf_nan=False)


class SearchSpec(BaseModel):
    """How to search, and what to say of it.

    `method` is written as in a model's name, the keys below it say the same one by one. `constants` are those of
    `--set`. `content`: "whole" puts the whole answer with its tags into the content. `events`: as in `stream_options`.
    `trace`: the reply carries everything the search did; `keep`: it stays on the server for a while, as a page too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str | None = None
    width: int | None = Field(default=None, ge=1, le=1_000_000)
    judge: str | None = Field(default=None, max_length=40)
    survivors: int | None = Field(default=None, ge=1, le=1_000_000)
    greedy_first: bool | None = None
    budget: BudgetSpec | None = None
    constants: list[str] = Field(default=[], max_length=20)
    content: Literal["conclusion", "whole"] = "conclusion"
    events: _Events = False
    trace: bool = False
    keep: bool = False


class ChatRequest(BaseModel):
    """The body of a request for an answer."""

    model: str = Field(min_length=1, max_length=300)
    messages: list[ChatMessage] = Field(min_length=1)
    search: str | SearchSpec | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    n: int | None = None
    stop: str | list[str] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    function_call: Any = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, Any] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    modalities: list[str] | None = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None

    model_config = ConfigDict(extra="allow")

    @property
    def spec(self) -> SearchSpec:
        """What `search` says; a text is a method."""
        if isinstance(self.search, str):
            return SearchSpec(method=self.search)
        return self.search or SearchSpec()

    @property
    def events(self) -> frozenset[EventKind]:
        """Which events of the search are asked for; they are part of streams only."""
        asked: _Events | None = self.stream_options.include_events if self.stream_options else None
        asked = self.spec.events if asked is None else asked
        return frozenset(EVENTS if asked is True else asked or ())

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def most_tokens(self) -> int | None:
        """The most tokens that the answer may have, all stages together; both names mean the same."""
        given = [most for most in (self.max_tokens, self.max_completion_tokens) if most is not None]
        return min(given) if given else None

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names of fields that nobody here knows."""
        names = sorted(name for name in self.model_extra or {} if name.isidentifier() and len(name) <= 40)
        known_harmless = {"user", "metadata", "store", "service_tier", "parallel_tool_calls", "safety_identifier"}
        return tuple(name for name in names if name not in known_harmless)[:_MOST_NAMES]

    def check_supported(self) -> None:
        """Make sure that nothing is asked for that would be left undone.

        Raises:
            Refused: something is; by name.
        """
        asked = {
            "n": self.n not in (None, 1),
            "stop": bool(self.stop),
            "tools": bool(self.tools),
            "functions": bool(self.functions),
            "tool_choice": self.tool_choice not in (None, "none", "auto"),
            "function_call": self.function_call not in (None, "none", "auto"),
            "response_format": bool(self.response_format) and (self.response_format or {}).get("type") != "text",
            "logprobs": bool(self.logprobs),
            "top_logprobs": bool(self.top_logprobs),
            "logit_bias": bool(self.logit_bias),
            "presence_penalty": bool(self.presence_penalty),
            "frequency_penalty": bool(self.frequency_penalty),
            "modalities": self.modalities not in (None, [], ["text"]),
            "audio": bool(self.audio),
            "prediction": bool(self.prediction),
            "web_search_options": bool(self.web_search_options),
        }
        for name, refused in asked.items():
            if refused:
                raise Refused(400, f"{name} is not supported here with this value", "unsupported_parameter", name)
        for place, message in enumerate(self.messages):
            if message.tool_calls:
                where = f"messages.{place}.tool_calls"
                raise Refused(400, "tool calls are not supported here", "unsupported_parameter", where)

    def method(self, named: Method) -> Method:
        """What the model's name and `search` together say of how to search.

        Raises:
            Refused: they say different things.
            InputError: the method cannot be read.
        """
        spec = self.spec
        said = parse_method(spec.method.removeprefix(SEPARATOR)) if spec.method else named
        if spec.method and named.search and said != named:
            raise invalid("the model's name and `search` name different methods", "search", "conflict")
        budget = spec.budget or BudgetSpec()
        return Method(
            said.search,
            said.width if spec.width is None else spec.width,
            said.tokens if budget.tokens is None else budget.tokens,
            said.seconds if budget.seconds is None else budget.seconds,
            said.temperature,
            spec.judge or said.judge,
        )
