"""The engine that runs a model in this process, with shared key-values and ragged batches; needs the extra `local`."""

from __future__ import annotations

from stepsight.errors import MissingExtraError

try:
    import torch as _torch  # noqa: F401 - only whether it is there
    import transformers as _transformers  # noqa: F401 - the same
except ImportError as error:
    raise MissingExtraError("transformers", "local") from error

from stepsight.engines.transformers.engine import TransformersEngine

__all__ = ["TransformersEngine"]
