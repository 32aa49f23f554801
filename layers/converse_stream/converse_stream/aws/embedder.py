"""Embeddings: texts as vectors that are near each other when the texts mean something alike."""

import json
from array import array
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from converse_stream.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

MODEL_IDS = {"": "", "titan-embed-v2": "amazon.titan-embed-text-v2:0"}  # by alias; none without a name
DIMENSIONS = 256  # the fewest that Titan has: a kilobyte for each fact, and little lost against 1024
MAX_CHARS = 2_000  # of a text that are read; Titan takes 50,000, and takes its time


class Embedder(Protocol):
    """`seconds` is what an embedding may take, at the most."""

    seconds: float

    def embed(self, text: str) -> bytes | None:
        """32-bit floats of this machine, a vector of length 1; None where there is none to be had in time."""


class Titan:
    """Titan text embeddings v2, by a client whose time-outs add up to `seconds`.

    https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html
    """

    def __init__(self, client: "BedrockRuntimeClient", model: str, *, seconds: float) -> None:
        self.seconds = seconds
        self._client = client
        self._model_id = MODEL_IDS[model]

    def embed(self, text: str) -> bytes | None:
        """See Embedder."""
        wanted = {"inputText": text[:MAX_CHARS], "dimensions": DIMENSIONS, "normalize": True}
        try:
            answer = self._client.invoke_model(modelId=self._model_id, body=json.dumps(wanted))
            vector = array("f", json.loads(answer["body"].read())["embedding"])
        except (BotoCoreError, ClientError, ValueError, KeyError, TypeError) as error:
            logger.warning("embedding left out", extra={"cause": type(error).__name__})
            return None
        return vector.tobytes() if len(vector) == DIMENSIONS else None
