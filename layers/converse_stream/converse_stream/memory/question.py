"""What the memory is searched with."""

from collections.abc import Sequence
from dataclasses import dataclass

from converse_stream.memory.greetings import is_greeting
from converse_stream.protocol.events import Message


@dataclass(frozen=True, slots=True)
class Question:
    """The user's message and the one before it. An empty `text` finds nothing.

    The previous message has the subject of questions like "And when was that?". It counts less than the message.
    """

    text: str
    previous: str = ""

    def joined(self, max_chars: int) -> str:
        """One text of at most `max_chars` code points: the message, and then as much as fits of the previous one."""
        return f"{self.text}\n{self.previous}".strip()[:max_chars]


def question_of(message: Message, history: Sequence[Message]) -> Question:
    """The question of a user's message. Greetings are left out. `history` may contain the message."""
    if is_greeting(message.text):
        return Question("")
    earlier = (each.text for each in reversed(history) if each.role == "user" and each.id != message.id)
    previous = next(earlier, "")
    return Question(message.text, "" if is_greeting(previous) else previous)
