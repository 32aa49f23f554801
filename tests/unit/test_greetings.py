"""Greetings are found in several languages, and questions are not taken for greetings."""

import pytest

from converse_stream.memory.greetings import is_greeting

GREETINGS = (
    "Hi",
    "Hello there!",
    "good morning :)",
    "Thank you!",
    "Guten Tag",
    "¡Hola, buenos días!",
    "Bonjour",
    "Привет",
    "Добрый день!",
    "你好!",
    "おはようございます。",
    "안녕하세요?",
    "नमस्ते",
    "السلام عليكم",
)
OTHERS = (
    "",
    "?!",
    "ok",
    "you there?",
    "hi 5",
    "Hello, what is the capital of France?",
    "How do I say good morning in French?",
    "Hello world in Rust",
    "Guten Tag auf Spanisch",
    "你好怎么用西班牙语说",
)


@pytest.mark.parametrize("text", GREETINGS)
def test_greeting_is_found(text: str) -> None:
    assert is_greeting(text)


@pytest.mark.parametrize("text", OTHERS)
def test_other_message_is_no_greeting(text: str) -> None:
    assert not is_greeting(text)
