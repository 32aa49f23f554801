"""The stand-in's words: made up, pleasant, and the same for the same request.

They are about what was asked, and use the facts and the history that the request carries, so that a reader sees
what the model was given.
"""

import random
import re

from local_stack.bedrock.conversation import Conversation

_GREETING = re.compile(r"(hi|hello|hey|good (morning|afternoon|evening)|thanks|thank you)\b[\s\w]{0,12}[.!?\s]*", re.I)
_POLITE = r"(?:(?:please|now|and|so)[, ]+|(?:can|could|would|will) you (?:please )?|i(?:'d| would) like you to )*"
_SUBJECT = re.compile(
    _POLITE + r"(?:(?:tell|talk|write|say|think|teach|show|sing|speak|know|what do you know)\b.{0,40}?\b(?:about|of)"
    r"|what(?:'s| is| are| was| were)|who(?:'s| is| are| was| were)|explain|describe|discuss|summari[sz]e)"
    r"(?: to me| for me)? (?P<subject>[^\n]+)",
    re.I,
)

_GREETING_ANSWER = (
    "Hello! 👋 I am the stand-in that answers on this machine when no model is at hand. "
    "My sentences are made up, but they arrive the way a model's do: one token after the other. "
    "Ask me about anything, tell me what to remember, or press stop while I am still talking."
)
_OPENINGS = (
    "There is more to {t} than a first glance suggests.",
    "Few subjects reward a second look as much as {t}.",
    "Let us begin with the plain facts about {t}, and then step a little closer.",
    "Ask ten people about {t} and you will hear ten different stories.",
)
_SENTENCES = (
    "From far away everything about {t} looks settled; up close the details matter, and one explains the rest.",
    "People who know {t} well speak of a quiet beginning, a few surprises, and then a rhythm that is hard to forget.",
    "Whoever returns to {t} after a year finds that the questions have changed.",
    "Much of what is written repeats the obvious, so it is worth asking what changes and what stays the same.",
    "Patience helps: an hour spent watching teaches more than a day spent guessing.",
    "The best way to understand is to compare: then and now, near and far, the rule and its exception.",
    "There is a practical side as well, and what one learns from it turns out to be useful in quite unexpected places.",
    "Even specialists disagree here, and their disagreement is often worth more than any summary.",
)
_LIST = (
    "\n\nThree things are worth remembering about {t}:\n\n"
    "- **The beginning:** usually smaller than expected, and easy to miss.\n"
    "- **The middle:** where most of the work is done, and where nobody looks.\n"
    "- **The end:** rarely a full stop, more often a change of name.\n\n"
)
_CLOSINGS = (
    "If you like, I can go deeper into any part of this.",
    "Tell me which side of it interests you most, and we can go on from there.",
    "Shall we look at one example more closely?",
)


def speak(conversation: Conversation, words: int | None = None) -> str:
    """The answer: 60 to 100 words and what memory adds, or exactly `words` words."""
    answer = " ".join([*_remembered(conversation), *_body(conversation, words or 0)])
    answer = re.sub(r" *(\n+) *", r"\1", answer)
    if words is None:
        return answer
    kept = "".join(tokens(answer)[:words])
    return kept if kept.endswith((".", "!", "?")) else kept.rstrip(",;:") + "."


def think(conversation: Conversation) -> str:
    """What the stand-in reasons before it answers."""
    known = "what I was asked to remember" if conversation.facts else "nothing but the question"
    return (
        f"The question is about {subject(conversation.question)}. I have {known} to go on. "
        "A short answer with one concrete thought in each sentence will do."
    )


def subject(text: str) -> str:
    """What a question is about, as a noun: its own words, or the whole question in quotation marks."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if about := _SUBJECT.match(line):
        return _short(about["subject"].rstrip(" .!?,;:"))
    return f"“{_short(line)}”" if line else "this"


def tokens(text: str) -> list[str]:
    """The text in the pieces in which the stand-in says it: a word and the space before it."""
    return re.findall(r"\s*\S+|\s+$", text)


def _remembered(conversation: Conversation) -> list[str]:
    sentences = []
    if conversation.facts:
        facts = " and that ".join(f"“{fact.text}” [{fact.label}]" for fact in conversation.facts[:3])
        sentences.append(f"I remember that {facts}.")
    for document in conversation.documents[:1]:
        name, _, passage = document.text.partition(": ")
        sentences.append(f"In {name} I read “{_short(passage)}” [{document.label}].")
    if conversation.earlier:
        sentences.append(f"Earlier you asked about {subject(conversation.earlier[-1])}.")
    sentences += [f"The tool says: {result}" for result in conversation.tool_results]
    return sentences


def _body(conversation: Conversation, words: int) -> list[str]:
    question = conversation.question
    if _GREETING.fullmatch(question) and words == 0:
        return [_GREETING_ANSWER]
    topic = subject(question)
    # The same question gets the same answer; nothing here is a secret.
    choice = random.Random(question)  # noqa: S311  # the same each time, not a secret
    middle = choice.sample(_SENTENCES, k=3)
    if choice.random() < 0.4:
        middle[1:] = [_LIST]
    missing = words
    while missing > 0:
        middle.append(choice.choice(_SENTENCES))
        missing -= len(middle[-1].split())
    return [sentence.format(t=topic) for sentence in (choice.choice(_OPENINGS), *middle, choice.choice(_CLOSINGS))]


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59].rsplit(" ", 1)[0] + "…"
