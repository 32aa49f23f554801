"""Bedrock on this machine: Converse, ConverseStream and Titan embeddings, as they are on the wire."""

from local_stack.bedrock.server import BedrockServer, ModelRequest, serve

__all__ = ["BedrockServer", "ModelRequest", "serve"]
