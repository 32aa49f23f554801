"""What of a conversation the model is reminded of: its newest messages, as many as fit, as alternating turns.

What does not fit is dropped by whole blocks of messages. So the history begins at the same message for some turns, and
the model's cache can serve it: if each new message pushed out the oldest one, no two prompts would begin alike.
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
    """`turns` begin with the user's and end with an answer; `unanswered` is what the user said behind them.

    `whole` says that nothing was left out.
    """

    turns: tuple[PromptMessage, ...]
    unanswered: tuple[str, ...]
    whole: bool


def history(messages: Sequence[Message], before: int, budget: int) -> History:
    """The newest of the messages that fit into `budget` tokens; `before` is how many there were before them."""
    first = _first([estimate_tokens(message.text) for message in messages], before, budget)
    turns = _alternating(messages[first:])
    unanswered = tuple(turns.pop().texts) if turns and turns[-1].role == "user" else ()
    if turns and turns[0].role == "assistant":
        del turns[0]
    return History(tuple(turns), unanswered, whole=before + first == 0)


def _first(sizes: Sequence[int], before: int, budget: int) -> int:
    """The index of the first message that is kept: at a block's begin, unless that cost half of what fits."""
    behind = [*accumulate(reversed(sizes), initial=0)][::-1]  # what each message weighs with all behind it
    fitting = next(index for index, weight in enumerate(behind) if weight <= budget)
    blocks = range(fitting + -(before + fitting) % BLOCK, len(sizes), BLOCK)
    return next((index for index in blocks if 2 * behind[index] >= behind[fitting]), fitting)


def _alternating(messages: Sequence[Message]) -> list[PromptMessage]:
    """Turns by alternating sides: answers without text are dropped, neighbours of one side joined."""
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
    """Without the answers that a filter stopped, and what they answered: no guardrail looks at the history again.

    That is all that was asked since the last answer with words in it: the filter judged it together.
    """
    kept: list[Message] = []
    stopped = False
    for message in reversed(messages):
        if message.finish_reason == "content-filter":
            stopped = True
        elif message.role == "assistant" and message.text.strip():
            stopped = False
        if not stopped:
            kept.append(message)
    return kept[::-1]
