"""InvokeModel of Titan text embeddings v2. Texts with common words, or parts of words, have similar vectors.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html
"""

import math
import re
from collections.abc import Iterator
from typing import Any
from zlib import crc32

from local_stack.bedrock.errors import BedrockError
from local_stack.bedrock.events import Json
from local_stack.bedrock.usage import count

MODEL = "amazon.titan-embed-text-v2:0"
DIMENSIONS = (1024, 512, 256)
MAX_CHARACTERS = 50_000
_FIELDS = frozenset({"inputText", "dimensions", "normalize", "embeddingTypes"})


def invoke(model_id: str, body: Any) -> Json:
    """Return the body of the response. Raises BedrockError."""
    if not model_id.endswith(MODEL):
        raise BedrockError("ValidationException", f"InvokeModel supports only {MODEL} here; use Converse.")
    if not isinstance(body, dict) or body.keys() - _FIELDS:
        raise _malformed("only inputText, dimensions, normalize and embeddingTypes are permitted")
    text, dimensions = body.get("inputText"), body.get("dimensions", DIMENSIONS[0])
    if not isinstance(text, str) or not 0 < len(text) <= MAX_CHARACTERS:
        raise _malformed(f"inputText: expected 1 to {MAX_CHARACTERS} characters")
    if dimensions not in DIMENSIONS:
        raise _malformed(f"dimensions: {dimensions} is not one of {DIMENSIONS}")
    vector = embed(text, dimensions)
    return {"embedding": vector, "embeddingsByType": {"float": vector}, "inputTextTokenCount": count(text)}


def embed(text: str, dimensions: int) -> list[float]:
    """Return the embedding of a text: a vector of length 1, made of hashed features."""
    vector = [0.0] * dimensions
    for feature, weight in _features(text):
        code = crc32(feature.encode())
        vector[code % dimensions] += weight if code & 0x8000_0000 else -weight
    length = math.hypot(*vector)
    return [value / length for value in vector] if length else [1.0, *vector[1:]]


def _features(text: str) -> Iterator[tuple[str, float]]:
    """Yield features with weights: words, and their trigrams with less weight, so that river and rivers are similar."""
    for word in re.findall(r"\w+", text.lower()):
        yield word, 1.0
        padded = f"^{word}$"
        for start in range(len(padded) - 2):
            yield padded[start : start + 3], 0.3


def _malformed(what: str) -> BedrockError:
    return BedrockError(
        "ValidationException", f"Malformed input request: {what}, please reformat your input and try again."
    )
