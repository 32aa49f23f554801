"""Signs the reasoning of Claude and checks the blocks that come back.

A signature holds short digests of the model, the system prompt, the tools, the messages before the block, the text, and
the ids of the tool calls that came with it. So the emulator stores nothing.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from local_stack.bedrock import errors
from local_stack.bedrock.errors import BedrockError
from local_stack.bedrock.events import Json
from local_stack.bedrock.models import ListedModel, is_claude, split

_SIZE = 8  # bytes of a digest
_MAGIC = b"emulated"  # so that a signature of another origin is not one of ours


class Seal(NamedTuple):
    """The digests in a signature."""

    model: bytes
    system: bytes
    tools: bytes
    messages: bytes
    text: bytes
    calls: bytes


def sign(model_id: str, body: Json, text: str, calls: Iterable[str]) -> str:
    """Return the signature of a block that answers this request. `calls`: the ids of the tool calls after it."""
    return _encoded(_seal(model_id, body, body["messages"], text, calls))


def check_signatures(model_id: str, model: ListedModel, body: Json) -> None:
    """Raises BedrockError for a block of reasoning that was changed, moved, or made by another model or request."""
    latest = max((number for number, each in enumerate(body["messages"]) if each["role"] == "assistant"), default=-1)
    for position, message in enumerate(body["messages"]):
        for index, block in enumerate(message["content"]):
            if "reasoningContent" in block:
                place = f"messages.{position}.content.{index}"
                content = block["reasoningContent"]
                if is_claude(model_id):
                    _check_block(model_id, model, body, (position, index, latest), content)
                elif model.thinking.style == "none":
                    raise errors.invalid(  # a guess by analogy with images
                        f"This model doesn't support the reasoningContent field for {message['role']} messages. "
                        "Remove reasoningContent and try again."
                    )
                elif model.thinking.style in {"nova", "openai-open"} and "signature" in content.get(
                    "reasoningText", {}
                ):
                    raise _invalid_signature(place)  # maximhq/bifrost pull request 6942


def _check_block(
    model_id: str, model: ListedModel, body: Json, place: tuple[int, int, int], content: Mapping[str, Any]
) -> None:
    """Check one block. `place`: the message, the index of the block, and the latest message of the assistant."""
    position, index, latest = place
    where = f"messages.{position}.content.{index}"
    text = content.get("reasoningText", {})
    signature = content.get("redactedContent") or text.get("signature")
    if not signature:
        # earendil-works/pi issue 2063, can1357/oh-my-pi pull request 10486
        raise errors.model_error(f"{where}.thinking.signature: Field required")
    seal = _decoded(signature)
    message = body["messages"][position]
    calls = [each["toolUse"]["toolUseId"] for each in message["content"] if "toolUse" in each]
    expected = _seal(model_id, body, body["messages"][:position], text.get("text", ""), calls)
    if seal is None or (seal.model, seal.text) != (expected.model, expected.text):
        raise _invalid_signature(where, redacted="redactedContent" in content)
    if position == latest and (index != 0 or (calls and seal.calls != expected.calls)):
        # anthropics/claude-code issue 25361, maximhq/bifrost issue 6342
        raise errors.model_error(
            f"{where}: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. "
            "These blocks must remain as they were in the original response."
        )
    if model.thinking.bound:
        _check_prefix(where, seal, expected)


def _check_prefix(where: str, seal: Seal, expected: Seal) -> None:
    """Check that nothing before the block has changed: anomalyco/opencode issue 48637."""
    differences = {
        "The `system` prompt differs from the one this block was created with.": seal.system != expected.system,
        "The `tools` differ from those this block was created with.": seal.tools != expected.tools,
        "The `messages` before the block differ from those it was created with.": seal.messages != expected.messages,
    }
    if changed := [text for text, differs in differences.items() if differs]:
        raise errors.model_error(
            f"{where}: Invalid `signature` in `thinking` block. The block is bound to a different conversation. "
            'Remove the block, or set `thinking.block_binding.prefix_mismatch_behavior` to "drop_block". That setting '
            "requires the `thinking-binding-controls-2026-08-01` value in the `anthropic-beta` header. "
            + " ".join(changed)
        )


def _invalid_signature(where: str, *, redacted: bool = False) -> BedrockError:
    """Return the error: lbjlaq/Antigravity-Manager issue 498; for redacted content it is a guess."""
    what = "`data` in `redacted_thinking`" if redacted else "`signature` in `thinking`"
    return errors.model_error(f"{where}: Invalid {what} block")


def _seal(model_id: str, body: Json, before: list[Json], text: str, calls: Iterable[str]) -> Seal:
    messages = [{"role": each["role"], "content": _content(each["content"])} for each in before]
    parts = (
        split(model_id)[1],
        _content(body.get("system", [])),
        _content(body.get("toolConfig", {}).get("tools", [])),
        messages,
        text,
        list(calls),
    )
    return Seal(*map(_digest, parts))


def _content(blocks: list[Json]) -> list[Json]:
    """Return the blocks that the model reads: without cache points, and without the marks of a guardrail."""
    return [block.get("guardContent", block) for block in map(_plain, blocks) if "cachePoint" not in block]


def _plain(block: Json) -> Json:
    """Return a guarded text as a text."""
    guarded = block.get("guardContent", {}).get("text")
    return block if guarded is None else {"text": guarded["text"]}


def _digest(value: Any) -> bytes:
    data = json.dumps(value, sort_keys=True, default=lambda each: base64.b64encode(each).decode())
    return hashlib.sha256(data.encode()).digest()[:_SIZE]


def _encoded(seal: Seal) -> str:
    return base64.b64encode(_MAGIC + b"".join(seal)).decode()


def _decoded(signature: str | bytes) -> Seal | None:
    """Return the digests of a signature, or None if it is not one of the emulator."""
    try:
        data = (
            signature if isinstance(signature, bytes) and signature.startswith(_MAGIC) else base64.b64decode(signature)
        )
    except ValueError:
        return None
    parts = [data[start : start + _SIZE] for start in range(len(_MAGIC), len(data), _SIZE)]
    return Seal(*parts) if data.startswith(_MAGIC) and len(parts) == len(Seal._fields) else None
