"""A whole answer, before it is said."""

from dataclasses import dataclass, replace

from local_stack.bedrock.events import Json
from local_stack.bedrock.usage import count


@dataclass(frozen=True, slots=True)
class Block:
    """A content block: its start, when it has one (tools), and its deltas."""

    deltas: tuple[Json, ...]
    start: Json | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """`trace` is what the metadata tells of a guardrail."""

    blocks: tuple[Block, ...]
    stop_reason: str
    trace: Json | None = None


def limited(reply: Reply, limit: int | None) -> Reply:
    """The reply cut after `limit` tokens.

    A tool call is cut like text: a start, the pieces that were said, which are no JSON, and a stop. Users' reports:
    spring-projects/spring-ai issue 4374, maximhq/bifrost issue 6081.
    """
    if limit is None or limit >= sum(cost(content) for block in reply.blocks for content in block.deltas):
        return reply
    blocks: list[Block] = []
    for block in reply.blocks:
        kept = []
        for content in block.deltas:
            limit -= cost(content)
            if limit >= 0:
                kept.append(content)
        if kept:
            blocks.append(replace(block, deltas=tuple(kept)))
        if limit <= 0:
            break
    return replace(reply, blocks=tuple(blocks), stop_reason="max_tokens")


def cost(content: Json) -> int:
    """A delta's tokens: a word of text or reasoning, or a fragment of a tool's input; the rest costs nothing."""
    return int("toolUse" in content) or count(
        content.get("text") or content.get("reasoningContent", {}).get("text", "")
    )
