"""The reasoning blocks of earlier answers that a prompt sends back to the model. Pure.

A block belongs to one model, which checks its signature. It is sent unchanged and in place, or not at all.
"""

from dataclasses import replace

from converse_stream.prompts.prompt import Prompt, PromptMessage, SignedReasoning, ToolResult
from converse_stream.protocol.events import RedactedReasoning

REASONING = (SignedReasoning, RedactedReasoning)


def without_earlier_reasoning(prompt: Prompt) -> Prompt:
    """The prompt with the reasoning of the current turn only.

    The current turn is what follows the last message of the user that has more than tool results. In it the model must
    get its blocks back with the results of the tools: without them it continues without reasoning. In earlier turns it
    does not need them, and Bedrock does not require them. There they are left out on purpose: since Claude 5.5 a block
    is valid only behind the exact prefix that it was made for, and facts, documents and cache points move from request
    to request.
    """
    turns = (*prompt.history, prompt.turn)
    start = max((index for index, turn in enumerate(turns) if _is_question(turn)), default=0)
    history = [turn if index > start else _without_reasoning(turn) for index, turn in enumerate(prompt.history)]
    return replace(prompt, history=tuple(history))


def with_usable_reasoning(prompt: Prompt, model: str) -> Prompt:
    """The prompt with the blocks that the model with this id needs and accepts; see `without_earlier_reasoning`."""
    if not has_reasoning(prompt):
        return prompt
    prompt = without_earlier_reasoning(prompt)
    return replace(prompt, history=tuple(_without_reasoning(turn, except_of=model) for turn in prompt.history))


def has_reasoning(prompt: Prompt) -> bool:
    """Whether the prompt has reasoning blocks."""
    return any(isinstance(content, REASONING) for turn in prompt.history for content in turn.content)


def without_reasoning(prompt: Prompt) -> Prompt:
    """The prompt without reasoning blocks."""
    return replace(prompt, history=tuple(map(_without_reasoning, prompt.history)))


def lacks_reasoning(prompt: Prompt) -> bool:
    """Whether the turn has results of tools, and the message with their calls does not begin with reasoning."""
    has_results = any(isinstance(content, ToolResult) for content in prompt.turn.content)
    return has_results and not (prompt.history and isinstance(prompt.history[-1].content[0], REASONING))


def _is_question(turn: PromptMessage) -> bool:
    return turn.role == "user" and not all(isinstance(content, ToolResult) for content in turn.content)


def _without_reasoning(turn: PromptMessage, except_of: str | None = None) -> PromptMessage:
    content = tuple(each for each in turn.content if not isinstance(each, REASONING) or each.model == except_of)
    return replace(turn, content=content)
