"""The history in a prompt: the newest messages of the conversation that fit, as alternating turns.

Old messages are left out in blocks. So several prompts in succession begin with the same message, and the model's cache
can be used. If each new message removed the oldest one, each prompt would begin differently.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from converse_stream.prompts.prompt import PromptMessage
from converse_stream.protocol.events import Message
from converse_stream.protocol.tokens import estimate_tokens

BLOCK = 8  # messages


@dataclass(frozen=True, slots=True)
class History:
    """`turns` begin with the user and end with an answer. `unanswered` are the user's messages after them.

    `complete` is false if messages were left out.
    """

    turns: tuple[PromptMessage, ...]
    unanswered: tuple[str, ...]
    complete: bool


def history(messages: Sequence[Message], before: int, budget: int) -> History:
    """The newest of `messages` that fit into `budget` tokens. `before` is the number of messages before them."""
    first = _first([estimate_tokens(message.text) for message in messages], before, budget)
    turns = _alternating(messages[first:])
    unanswered = tuple(turns.pop().texts) if turns and turns[-1].role == "user" else ()
    if turns and turns[0].role == "assistant":
        del turns[0]
    return History(tuple(turns), unanswered, complete=before + first == 0)


def _first(sizes: Sequence[int], before: int, budget: int) -> int:
    """The index of the first message to keep.

    It is the first of a block, unless that would leave out more than half of the tokens that fit.
    """
    totals = [*accumulate(reversed(sizes), initial=0)][::-1]  # tokens of each message and all after it
    fitting = next(index for index, total in enumerate(totals) if total <= budget)
    blocks = range(fitting + -(before + fitting) % BLOCK, len(sizes), BLOCK)
    return next((index for index in blocks if 2 * totals[index] >= totals[fitting]), fitting)


def _alternating(messages: Sequence[Message]) -> list[PromptMessage]:
    """Turns with alternating roles. Answers without text are left out, adjacent messages of one role are joined."""
    turns: list[PromptMessage] = []
    for message in without_filtered(messages):
        text = message.text
        if not text.strip():
            continue
        if turns and turns[-1].role == message.role:
            turns[-1] = PromptMessage(message.role, (*turns[-1].content, text))
        else:
            turns.append(PromptMessage(message.role, (text,)))
    return turns


def without_filtered(messages: Sequence[Message]) -> list[Message]:
    """The messages without answers that a filter stopped, and without the user's messages that they answered.

    The guardrail does not check the history again. All user messages since the last answer with text are left out,
    because the filter checked them together.
    """
    kept: list[Message] = []
    filtered = False
    for message in reversed(messages):
        if message.finish_reason == "content-filter":
            filtered = True
        elif message.role == "assistant" and message.text.strip():
            filtered = False
        if not filtered:
            kept.append(message)
    return kept[::-1]
