"""Embeddings: vectors of texts. Texts with a similar meaning have vectors that are close to each other."""

import json
from array import array
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from converse_stream.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

MODEL_IDS = {"": "", "titan-embed-v2": "amazon.titan-embed-text-v2:0"}  # by alias; empty: no embeddings
DIMENSIONS = 256  # the fewest that Titan supports: 1 KB for each fact; 1024 are hardly better
MAX_CHARS = 2_000  # longer texts are cut; Titan accepts 50,000, but is slower then


class Embedder(Protocol):
    """Makes embeddings. `seconds` is the longest time for one."""

    seconds: float

    def embed(self, text: str) -> bytes | None:
        """Returns a vector of length 1 as 32-bit floats in native byte order; None if it fails or takes too long."""


class Titan:
    """Titan Text Embeddings V2. The time-outs of `client` add up to `seconds`.

    https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html
    """

    def __init__(self, client: "BedrockRuntimeClient", model: str, *, seconds: float) -> None:
        self.seconds = seconds
        self._client = client
        self._model_id = MODEL_IDS[model]

    def embed(self, text: str) -> bytes | None:
        """See Embedder."""
        request = {"inputText": text[:MAX_CHARS], "dimensions": DIMENSIONS, "normalize": True}
        try:
            response = self._client.invoke_model(modelId=self._model_id, body=json.dumps(request))
            vector = array("f", json.loads(response["body"].read())["embedding"])
        except (BotoCoreError, ClientError, ValueError, KeyError, TypeError) as error:
            logger.warning("embedding failed", extra={"cause": type(error).__name__})
            return None
        return vector.tobytes() if len(vector) == DIMENSIONS else None
