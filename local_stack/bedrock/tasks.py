"""What the stand-in answers the small jobs: a title, a label, a summary, and what a user says of themselves."""

import json
import re

from local_stack.bedrock import texts
from local_stack.bedrock.conversation import Conversation

_NAMED = re.compile(r"\b(?:call yourself|your name is|you are called) (?P<name>\w+)", re.IGNORECASE)
_OF_ONESELF = re.compile(
    r"(?:my (?!question)|i(?:'m| am| have| own| live| work| like| love| prefer| want) )", re.IGNORECASE
)


def title(conversation: Conversation) -> str:
    """A title of at most six words for the conversation that the request shows."""
    text = re.sub(r"</?\w+>", "\n", conversation.question)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line.partition(":")[2].strip() for line in lines if line.lower().startswith(("user:", "human:"))]
    about = [line for line in lines if "title" not in line.lower()]
    named = texts.subject([*said, *about, "A conversation"][0]).strip("“”").split()
    short = " ".join(named[:6]).rstrip(".,;:!?…")[:80]
    return short[:1].upper() + short[1:]


def classify(conversation: Conversation) -> str:
    """One of the labels that the system prompt lists: the one that shares most words with the text, else the first."""
    header = re.search(r"\b(labels?|categories|classes|one of)\b[^:\n]*:", conversation.system, re.IGNORECASE)
    listed = conversation.system[header.end() :].strip() if header else ""
    bullets = re.findall(r"^\s*[-*•]\s+(.+)$", listed, re.MULTILINE)
    pieces = bullets or re.split(r"[,|;]|\bor\b", re.split(r"\n|\. ", listed)[0])
    labels = [label for piece in pieces if (label := piece.strip(" \t`'\"“”[]."))]
    text = set(words(conversation.question))
    return max(labels, key=lambda label: len(text & set(words(label))), default="unknown")


def extract(conversation: Conversation) -> str:
    """The sentences in which the user speaks of themselves, as JSON; without those that are known already."""
    facts, known = [], {fact.text for fact in conversation.facts}
    for sentence in re.findall(r"[^.!?\n]+", conversation.question):
        said = sentence.strip()
        if _OF_ONESELF.match(said) and not _NAMED.search(said):
            text = re.sub("^my ", "The user's ", said, flags=re.IGNORECASE)
            text = f"{text}." if text != said else f"The user says: {said}."
            if text not in known:
                facts.append({"text": text, "kind": "fact", "confidence": 0.9})
    named = _NAMED.search(conversation.question)
    return json.dumps({"facts": facts, "assistant": named["name"] if named else None}, ensure_ascii=False)


def summary(conversation: Conversation) -> str:
    """The summary so far, and what the user asked about since."""
    said = [part.partition(": ") for part in conversation.question.split("\n\n")]
    before = [text for who, _, text in said if who == "Summary so far"]
    asked = [f"The user asked about {texts.subject(text)}." for who, _, text in said if who == "User"]
    return " ".join([*before, *asked])


def words(text: str) -> list[str]:
    """Its words, in lower case."""
    return re.findall(r"\w+", text.lower())
