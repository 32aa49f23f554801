"""Generates the text of answers and of reasoning for the emulated model. The same request gives the same text.

The text has the topic of the question. It quotes facts, documents, the last question and tool results of the request,
so that you see what the model received.
"""

import itertools
import random
import re

from local_stack.bedrock.conversation import Conversation

_GREETING = re.compile(r"(hi|hello|hey|good (morning|afternoon|evening)|thanks|thank you)\b[\s\w]{0,12}[.!?\s]*", re.I)
_POLITE = r"(?:(?:please|now|and|so)[, ]+|(?:can|could|would|will) you (?:please )?|i(?:'d| would) like you to )*"
_TOPIC = re.compile(
    _POLITE + r"(?:(?:tell|talk|write|say|think|teach|show|sing|speak|know|what do you know)\b.{0,40}?\b(?:about|of)"
    r"|what(?:'s| is| are| was| were)|who(?:'s| is| are| was| were)|explain|describe|discuss|summari[sz]e)"
    r"(?: to me| for me)? (?P<topic>[^\n]+)",
    re.I,
)

_GREETING_ANSWER = (
    "Hello! 👋 I am the Bedrock emulator of the local stack. I answer on this machine without a model. "
    "My sentences are invented, but you receive them like those of a model: one token after another. "
    "Ask me about anything, tell me what to remember, or press stop while I am answering."
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
_REASONING = (
    "Let me check this against what was said before.",
    "Another way to see it leads to the same answer.",
    "A counterexample would change it, and I find none.",
)


def generate_answer(conversation: Conversation, words: int | None = None) -> str:
    """Generate the answer: exactly `words` words, or 60 to 100 words and the quotes from the request."""
    answer = " ".join([*_quotes(conversation), *_body(conversation, words or 0)])
    answer = re.sub(r" *(\n+) *", r"\1", answer)
    if words is None:
        return answer
    kept = "".join(tokens(answer)[:words])
    return kept if kept.endswith((".", "!", "?")) else kept.rstrip(",;:") + "."


def generate_reasoning(conversation: Conversation, sentences: int) -> str:
    """Generate the reasoning before the answer, of this number of sentences."""
    known = "what I was asked to remember" if conversation.facts else "nothing but the question"
    first = (
        f"The question is about {topic_of(conversation.question)}.",
        f"I have {known} to go on.",
        "A short answer with one concrete thought in each sentence will do.",
    )
    rest = itertools.cycle(_REASONING)
    return " ".join(itertools.islice(itertools.chain(first, rest), sentences))


def topic_of(text: str) -> str:
    """Return the topic of a question as a noun, or the whole question in quotation marks."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if match := _TOPIC.match(line):
        return _short(match["topic"].rstrip(" .!?,;:"))
    return f"“{_short(line)}”" if line else "this"


def tokens(text: str) -> list[str]:
    """Split a text into the tokens that the emulator streams: each is a word and the space before it."""
    return re.findall(r"\s*\S+|\s+$", text)


def _quotes(conversation: Conversation) -> list[str]:
    """Return sentences that quote facts, documents, the last question and tool results."""
    sentences = []
    if conversation.facts:
        facts = " and that ".join(f"“{fact.text}” [{fact.label}]" for fact in conversation.facts[:3])
        sentences.append(f"I remember that {facts}.")
    for document in conversation.documents[:1]:
        passage = " ".join(document.text.split())
        sentences.append(f"In {document.name} I read “{_short(passage)}” [{document.label}].")
    if conversation.earlier_questions:
        sentences.append(f"Earlier you asked about {topic_of(conversation.earlier_questions[-1])}.")
    sentences += [f"The tool says: {result}" for result in conversation.tool_results]
    return sentences


def _body(conversation: Conversation, words: int) -> list[str]:
    question = conversation.question
    if _GREETING.fullmatch(question) and words == 0:
        return [_GREETING_ANSWER]
    topic = topic_of(question)
    generator = random.Random(question)  # noqa: S311  # repeatable: the same question gets the same answer
    middle = generator.sample(_SENTENCES, k=3)
    if generator.random() < 0.4:
        middle[1:] = [_LIST]
    missing = words
    while missing > 0:
        middle.append(generator.choice(_SENTENCES))
        missing -= len(middle[-1].split())
    sentences = (generator.choice(_OPENINGS), *middle, generator.choice(_CLOSINGS))
    return [sentence.format(t=topic) for sentence in sentences]


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59].rsplit(" ", 1)[0] + "…"
