"""The Bedrock emulator: Converse, ConverseStream, Titan embeddings, and Retrieve of knowledge bases."""

from local_stack.bedrock.server import BedrockServer, ModelRequest, serve

__all__ = ["BedrockServer", "ModelRequest", "serve"]
