"""The history in a prompt: the newest messages of the conversation that fit, as alternating turns.

When the history is full, it begins again at the newest half, and keeps this beginning until it is full again. So many
prompts in succession begin with the same message, and the model's cache can be used. If each new message removed the
oldest one, each prompt would begin differently.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

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
    """A message that has text, as a turn of its own. `number` is its number in the conversation."""

    number: int
    turn: PromptMessage


def history(messages: Sequence[Message], first: int, budget: int) -> History:
    """The newest of `messages` that fit into `budget` tokens. `first` is the number of the first of them.

    The last answer and its question are always there; if they do not fit, they are shortened.
    """
    allowed = set(map(id, without_filtered(messages)))
    visible = [
        _Message(number, PromptMessage(message.role, (text,)))
        for number, message in enumerate(messages, first)
        if id(message) in allowed and (text := message.text).strip()
    ]
    start = next((message.sent.first_message for message in reversed(messages) if message.sent), 1)
    begin = _begin(visible, start, budget, is_read=start >= first)
    kept = visible[begin:]
    fitting = _shortened([each.turn for each in kept], budget)
    turns = _alternating(fitting)
    unanswered = tuple(turns.pop().texts) if turns and turns[-1].role == "user" else ()
    if turns and turns[0].role == "assistant":
        del turns[0]
    number = first if begin == 0 else kept[0].number
    return History(tuple(turns), unanswered, number, shortened=fitting != [each.turn for each in kept])


def _begin(messages: Sequence[_Message], start: int, budget: int, *, is_read: bool) -> int:
    """The index of the first message to keep: number `start`, where the previous prompt began, if all after it fit.

    Otherwise the first user's message of the newest half, but not after the last answer's question. `is_read` is false
    if message `start` was not read, because the conversation has too many messages after it.
    """
    sizes = [each.turn.tokens for each in messages]
    totals = [*accumulate(reversed(sizes), initial=0)][::-1]  # of each message and all after it
    answers = [index for index, each in enumerate(messages) if each.turn.role == "assistant"]
    last_question = max(0, (answers[-1] if answers else len(messages)) - 1)
    begin = min(sum(each.number < start for each in messages), last_question)
    if is_read and totals[begin] <= budget:
        return begin
    half = next(index for index, total in enumerate(totals) if 2 * total <= budget)
    if not is_read:
        half = max(half, len(messages) // 2)
    while half < last_question and messages[half].turn.role == "assistant":
        half += 1
    return min(half, last_question)


def _shortened(turns: Sequence[PromptMessage], budget: int) -> list[PromptMessage]:
    """The turns, of which the longest are shortened so that all fit into `budget` tokens. Some may have no content."""
    limit, rest = budget, budget
    for count, size in zip(range(len(turns), 0, -1), sorted(turn.tokens for turn in turns), strict=True):
        limit = rest // count  # if all that are as long as this one, or longer, get the same
        if size > limit:
            break
        rest -= size
    else:
        return list(turns)
    return [turn if turn.tokens <= limit else _shorter(turn, limit) for turn in turns]


def _shorter(turn: PromptMessage, tokens: int) -> PromptMessage:
    text = shorten("".join(turn.texts), tokens, END_SHARE[turn.role])
    return PromptMessage(turn.role, (text,) if text else ())


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


def _alternating(turns: Sequence[PromptMessage]) -> list[PromptMessage]:
    """Turns with alternating roles: adjacent ones of one role are joined, and those without content are left out."""
    joined: list[PromptMessage] = []
    for turn in turns:
        if joined and joined[-1].role == turn.role:
            joined[-1] = PromptMessage(turn.role, (*joined[-1].content, *turn.content))
        elif turn.content:
            joined.append(turn)
    return joined


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
