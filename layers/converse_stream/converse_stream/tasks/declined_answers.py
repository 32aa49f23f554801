"""Answers in which a model declines its task, such as `I'm sorry, but I can't summarize this.`"""

import re
from functools import cache
from pathlib import Path
from string import Template

# What a model would have done in a task. Users have other reasons to write "I can't", and titles repeat their words.
_VERB = (
    "(?:summari[sz]e|provide|help|assist|create|generate|write|give|produce|fulfil|comply|complete|continue|answer|"
    "respond|do (?:that|this|so)|classify|label|categori[sz]e|title|determine|process|engage|discuss|share|offer|read|"
    "extend|update)"
)


def is_declined(answer: str) -> bool:
    """Whether the answer begins as one in which the model does not do what it was asked for."""
    return bool(_beginnings().match(answer.replace("\u2019", "'")))


@cache
def _beginnings() -> re.Pattern[str]:
    """The beginnings of such answers in several languages, one pattern a line.

    Each ends with words that belong to an answer of a model. "Sorry for the delay" or "I can't sleep" may be a title.
    """
    lines = Path(__file__).with_name("declined_answers.txt").read_text(encoding="utf-8")
    patterns = Template(lines).substitute(verb=_VERB).splitlines()
    return re.compile(rf"\W*(?:{'|'.join(patterns)})", re.IGNORECASE)
