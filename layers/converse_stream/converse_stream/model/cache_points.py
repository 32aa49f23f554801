"""Where a request gets cache points: after the parts that the next request begins with too. Pure.

https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
"""

from dataclasses import dataclass

from converse_stream.model.capabilities import ESTIMATE_MARGIN
from converse_stream.prompts.prompt import Prompt, ToolResult, tool_tokens
from converse_stream.protocol.tokens import estimate_tokens


@dataclass(frozen=True, slots=True)
class CachePoints:
    """After what the cache points are: the system prompt, turns of the history by index, and the last turn.

    Bedrock allows four in a request.
    """

    system: bool = False
    history: tuple[int, ...] = ()
    turn: bool = False


def cache_points(prompt: Prompt, min_tokens: int) -> CachePoints:
    """The cache points for a model that does not cache a prefix of fewer than `min_tokens`.

    The last answer ends what the next request begins with. The previous request had its last cache point at the answer
    before it: some models do not search further back. In a tool loop of a caller, the next request begins with the last
    turn too, and the previous request had its last cache point there. In a stored conversation the last turn changes
    until then: its facts and documents are left out.
    """
    first = _first_cacheable(prompt, min_tokens)
    has_results = any(isinstance(content, ToolResult) for content in prompt.turn.content)
    ends_with_turn = has_results and not prompt.stored
    turns = range(len(prompt.history))
    return CachePoints(
        system=first < 0,
        history=tuple(index for index in (turns if ends_with_turn else turns[1::2])[-2:] if index >= first),
        turn=ends_with_turn and first <= len(prompt.history),
    )


def _first_cacheable(prompt: Prompt, min_tokens: int) -> int:
    """The index of the turn at whose end the prompt has enough tokens: -1 for the system prompt."""
    needed = min_tokens * ESTIMATE_MARGIN // (ESTIMATE_MARGIN + 1)  # the estimate may be too low
    size = tool_tokens(prompt) + estimate_tokens(prompt.system)
    for index, turn in enumerate((*prompt.history, prompt.turn), -1):
        if size >= needed:
            return index
        size += turn.tokens
    return len(prompt.history) if size >= needed else len(prompt.history) + 1
