"""Answers of the emulated model to background tasks: a title, a label, a summary, and facts about the user."""

import json
import re

from local_stack.bedrock import answer_text
from local_stack.bedrock.conversation import Conversation
from local_stack.bedrock.events import Json

_NAMED = re.compile(r"\b(?:call yourself|your name is|you are called) (?P<name>\w+)", re.IGNORECASE)
_NO_LONGER = re.compile(r"i no longer (.+)", re.IGNORECASE)
_ABOUT_USER = re.compile(
    r"(?:my (?!question)|i(?:'m| am| have| own| live| work| like| love| prefer| want) )", re.IGNORECASE
)
_WISH = re.compile(r"i (?:prefer|want) ", re.IGNORECASE)


# A message between tags, which may have attributes. Its line may begin with a mark.
_MESSAGE = re.compile(r"^<message(?P<attributes>[^>\n]*)>\n(?:- )?(?P<text>.*?)\n</message>$", re.DOTALL | re.MULTILINE)
_SUMMARY = re.compile(r"^<summary-so-far>\n(?:- )?(.*?)\n</summary-so-far>$", re.DOTALL | re.MULTILINE)


def title(conversation: Conversation) -> str:
    """Return a title of at most six words for the conversation in the request."""
    text = re.sub(r"</?\w+>", "\n", _message(conversation))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    user_lines = [line.partition(":")[2].strip() for line in lines if line.lower().startswith(("user:", "human:"))]
    other_lines = [line for line in lines if "title" not in line.lower()]
    topic = answer_text.topic_of([*user_lines, *other_lines, "A conversation"][0]).strip("“”").split()
    short = " ".join(topic[:6]).rstrip(".,;:!?…")[:80]
    return short[:1].upper() + short[1:]


def classify(conversation: Conversation) -> str:
    """Return the label of the system prompt's list with the most words of the text. Without a match it is the first."""
    header = re.search(r"\b(labels?|categories|classes|one of)\b[^:\n]*:", conversation.system, re.IGNORECASE)
    listed = conversation.system[header.end() :].strip() if header else ""
    bullets = re.findall(r"^\s*(?:[-*•]|\d+\.)\s+(.+)$", listed, re.MULTILINE)
    pieces = bullets or re.split(r"[,|;]|\bor\b", re.split(r"\n|\. ", listed)[0])
    labels = [label for piece in pieces if (label := piece.strip(" \t`'\"“”[]."))]
    text = set(words(_message(conversation)))
    return max(labels, key=lambda label: len(text & set(words(label))), default="unknown")


def extract(conversation: Conversation) -> str:
    """Return the user's new statements about themselves, known facts that are wrong now, and a name, as JSON.

    The message is between its tags, or the whole question.
    """
    facts, known = [], {fact.text for fact in conversation.facts}
    outdated: set[int] = set()
    message = _message(conversation)
    for part in re.findall(r"[^.!?\n]+", message):
        sentence = part.strip()
        if ended := _NO_LONGER.fullmatch(sentence):
            numbered = enumerate(conversation.facts, 1)
            outdated |= {number for number, fact in numbered if ended[1].lower() in fact.text.lower()}
        if _ABOUT_USER.match(sentence) and not _NAMED.search(sentence):
            text = re.sub("^my ", "The user's ", sentence, flags=re.IGNORECASE)
            text = f"{text}." if text != sentence else f"The user says: {sentence}."
            if text not in known:
                kind = "preference" if _WISH.match(sentence) else "fact"
                facts.append({"text": text, "kind": kind, "confidence": 0.9, "replaces": []})
    named = _NAMED.search(message)
    answer = {"facts": facts, "outdated": sorted(outdated), "assistant": named["name"] if named else ""}
    return json.dumps(answer, ensure_ascii=False)


def summary(conversation: Conversation) -> str:
    """Return the previous summary with the topics of the newer questions."""
    text = conversation.question
    if messages := list(_MESSAGE.finditer(text)):
        previous = _SUMMARY.findall(text)
        questions = [message["text"] for message in messages if 'from="user"' in message["attributes"]]
    else:
        parts = [part.partition(": ") for part in text.split("\n\n")]
        previous = [text for role, _, text in parts if role == "Summary so far"]
        questions = [text for role, _, text in parts if role == "User"]
    return " ".join([*previous, *(f"The user asked about {answer_text.topic_of(text)}." for text in questions)])


def as_object(answer: str, schema: Json) -> Json:
    """Return a task's answer as an object with the schema: JSON as it is, and a text as the first property."""
    try:
        parsed = json.loads(answer)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else dict.fromkeys(list(schema.get("properties", {}))[:1], answer)


def _message(conversation: Conversation) -> str:
    """Return the message between tags, or the whole question."""
    found = _MESSAGE.search(conversation.question)
    return found["text"] if found else conversation.question


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return re.findall(r"\w+", text.lower())
