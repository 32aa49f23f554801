"""The history in a prompt: the newest messages of the conversation that fit, as alternating turns.

When the history is full, it begins again at the newest half, and keeps this beginning until it is full again. So many
prompts in succession begin with the same message, and the model's cache can be used. If each new message removed the
oldest one, each prompt would begin differently.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from converse_stream.prompts.prompt import PromptMessage
from converse_stream.protocol.events import Message
from converse_stream.protocol.tokens import estimate_tokens

MIN_SHORTENED = 20  # tokens; a text that must be shorter is left out
MIN_CORRECTED = 300  # tokens; in a shorter prompt, what models add to each prompt counts too much
MAX_CORRECTION = 2.0
END_SHARE = {"user": 0.5, "assistant": 0.75}  # how much of a shortened text is its end; an answer may be continued


@dataclass(frozen=True, slots=True)
class History:
    """`turns` begin with the user and end with an answer. `unanswered` are the user's messages after them.

    `first` is the number of the first message in its conversation. `shortened` is true if a message was shortened.
    """

    turns: tuple[PromptMessage, ...]
    unanswered: tuple[str, ...]
    first: int
    shortened: bool = False


@dataclass(frozen=True, slots=True)
class _Message:
    """A message that has text. `number` is its number in the conversation, `size` its estimated tokens."""

    number: int
    role: Literal["user", "assistant"]
    text: str
    size: int


def history(messages: Sequence[Message], first: int, budget: int) -> History:
    """The newest of `messages` that fit into `budget` tokens. `first` is the number of the first of them.

    The last answer and its question are always there; if they do not fit, they are shortened.
    """
    allowed = set(map(id, without_filtered(messages)))
    visible = [
        _Message(number, message.role, text, estimate_tokens(text))
        for number, message in enumerate(messages, first)
        if id(message) in allowed and (text := message.text).strip()
    ]
    start = next((message.sent.first_message for message in reversed(messages) if message.sent), 1)
    begin = _begin(visible, start, budget, is_read=start >= first)
    kept = visible[begin:]
    texts = _shortened(kept, budget)
    turns = _alternating(kept, texts)
    unanswered = tuple(turns.pop().texts) if turns and turns[-1].role == "user" else ()
    if turns and turns[0].role == "assistant":
        del turns[0]
    number = first if begin == 0 else kept[0].number
    return History(tuple(turns), unanswered, number, shortened=texts != [each.text for each in kept])


def _begin(messages: Sequence[_Message], start: int, budget: int, *, is_read: bool) -> int:
    """The index of the first message to keep: number `start`, where the previous prompt began, if all after it fit.

    Otherwise the first user's message of the newest half, but not after the last answer's question. `is_read` is false
    if message `start` was not read, because the conversation has too many messages after it.
    """
    totals = [*accumulate((each.size for each in reversed(messages)), initial=0)][::-1]  # of each and all after it
    begin = sum(each.number < start for each in messages)
    if is_read and totals[begin] <= budget:
        return begin
    last_answer = max((index for index, each in enumerate(messages) if each.role == "assistant"), default=len(messages))
    last_question = max(0, last_answer - 1)
    half = next(index for index, total in enumerate(totals) if 2 * total <= budget)
    if not is_read:
        half = max(half, len(messages) // 2)
    while half < last_question and messages[half].role == "assistant":
        half += 1
    return min(half, last_question)


def _shortened(messages: Sequence[_Message], budget: int) -> list[str]:
    """The texts of the messages, of which the longest are shortened so that all fit into `budget` tokens."""
    limit, rest = budget, budget
    for count, size in zip(range(len(messages), 0, -1), sorted(each.size for each in messages), strict=True):
        limit = rest // count  # if all that are as long as this one, or longer, get the same
        if size > limit:
            break
        rest -= size
    else:
        return [each.text for each in messages]
    return [shorten(each.text, limit, END_SHARE[each.role]) for each in messages]


def shorten(text: str, tokens: int, end_share: float) -> str:
    """The start and the end of the text, with at most `tokens`; empty if that is too little to be of use."""
    if (size := estimate_tokens(text)) <= tokens:
        return text
    length = len(text) * tokens // size
    while tokens >= MIN_SHORTENED and length > 0:
        end = int(length * end_share)
        mark = f"\n[… {len(text) - length} characters are left out …]\n"
        shortened = text[: length - end] + mark + text[len(text) - end :]
        if estimate_tokens(shortened) <= tokens:
            return shortened
        length = length * 9 // 10
    return ""


def _alternating(messages: Sequence[_Message], texts: Sequence[str]) -> list[PromptMessage]:
    """Turns with alternating roles: adjacent messages of one role are joined, and empty texts are left out."""
    turns: list[PromptMessage] = []
    for message, text in zip(messages, texts, strict=True):
        if not text:
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


def estimate_correction(history: Sequence[Message], model: str) -> float:
    """The real tokens of the last prompt that the model got in this conversation, divided by the estimate.

    It is 1.0 if there is none of at least `MIN_CORRECTED` tokens, and limited, because a prompt may change its kind.
    """
    for message in reversed(history):
        sent, usage = message.sent, message.usage
        if sent and usage and usage.basis == "exact" and message.model == model and sent.tokens >= MIN_CORRECTED:
            real = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
            return min(max(real / sent.tokens, 1 / MAX_CORRECTION), MAX_CORRECTION)
    return 1.0
