"""A generated answer, before it is sent."""

from dataclasses import dataclass, replace

from local_stack.bedrock.events import Json
from local_stack.bedrock.usage import count

MARKER = "[REDACTED]"  # Nova 2 sends it instead of the text of its reasoning


@dataclass(frozen=True, slots=True)
class Block:
    """A content block: its deltas, and its start if it is a tool call.

    `hidden`: tokens of reasoning that are generated before the deltas, and paid for, but not sent.
    """

    deltas: tuple[Json, ...]
    start: Json | None = None
    hidden: int = 0

    @property
    def cost(self) -> int:
        return self.hidden + sum(map(cost, self.deltas))


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `trace` is the guardrail's trace for the metadata.

    `spent`: tokens of reasoning without text that was cut, so that no block of it is sent.
    """

    blocks: tuple[Block, ...]
    stop_reason: str
    trace: Json | None = None
    spent: int = 0


def limited(reply: Reply, limit: int | None) -> Reply:
    """Return the reply, cut after `limit` tokens.

    A tool call is cut like text: it has a start, some pieces of its input (which are not valid JSON) and a stop.
    Reported in spring-projects/spring-ai issue 4374 and maximhq/bifrost issue 6081.
    """
    if limit is None or limit >= sum(block.cost for block in reply.blocks):
        return reply
    blocks: list[Block] = []
    spent = 0
    for block in reply.blocks:
        if block.hidden > limit:
            spent = limit
            break
        kept = []
        limit -= block.hidden
        for content in block.deltas:
            limit -= cost(content)
            if limit >= 0:
                kept.append(content)
        if kept:
            blocks.append(replace(block, deltas=tuple(kept)))
        if limit <= 0:
            break
    return replace(reply, blocks=tuple(blocks), stop_reason="max_tokens", spent=spent)


def cost(content: Json) -> int:
    """Count the tokens of a delta: each word of text or reasoning, and each fragment of a tool's input, is one.

    Nova's marker stands for reasoning that is counted as hidden.
    """
    reasoning = content.get("reasoningContent", {}).get("text", "")
    return int("toolUse" in content) or count(content.get("text") or ("" if reasoning == MARKER else reasoning))
