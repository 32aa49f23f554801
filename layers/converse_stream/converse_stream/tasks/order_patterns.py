"""Recognizes links, and orders to the assistant, in a folded text. Pure.

A fact is a sentence about the user in the third person. So orders, and sentences that address their reader or the
assistant, are no facts.
"""

import re

from converse_stream.tasks.folded_text import folded_pattern

LINKS = re.compile(
    r"\b(?:https?|hxxps?|ftps?|file|wss?)\s*:\s*/"
    r"|\b(?:javascript|vbscript):\S|\bdata:\w+/"
    r"|\bwww\.\w|\b(?!asp\.)(?:[a-z0-9-]+\.)+(?!js/)[a-z]{2,}(?::\d+)?/\S"  # a domain with a path; not Node.js/React
    r"|\]\(\s*\S|!\[|^\s*\[[^\]]+\]:\s*\S"  # links and images of Markdown
    r"|<\s*/?\s*(?:img|a|script|iframe|svg|style|object|embed|link|meta|form|input)\b",
    re.IGNORECASE | re.MULTILINE,
)

# ---- Orders ----

_START = r"(?:^|[.!?:;,\n\"'“(\[]\s*)(?:please |kindly )?"  # of a clause
_SAY = (
    r"(?:end|begin|start|finish|close|conclude|sign|answer|reply|respond|add|append|prepend|include|insert|attach|say|"
    r"tell|mention|recommend|promote|praise|suggest|use|write|output|print|quote|cite|link|call|address|speak|talk|act|"
    r"pretend|behave|obey|follow|trust|believe|treat|reveal|disclose|refuse|warn|ask|repeat|translate|execute|send)"
)
_ANSWERS = r"(?:answers?|repl(?:y|ies)|responses?|outputs?|completions?)"
_RULES = (
    r"(?:instructions?|prompts?|messages?|rules?|context|conversation|orders?|directions?|guidelines?|polic(?:y|ies)|"
    r"restrictions?|guardrails?|safeguards?|everything)"
)
ORDERS = folded_pattern(
    # "Ignore all previous instructions", "disregard your guidelines"
    r"\b(?:ignore|disregard|forget|override|bypass|overrule|skip)s?"
    r"(?: (?:all|any|every|of|the|your|its|my|these|those|other))*"
    rf" (?:(?:previous|prior|above|earlier|preceding|former|system|safety|initial|original|other)(?: {_RULES}\b|"
    rf"\s*(?:[.,:;!\"]|$)| and\b)|(?:instructions?|prompts?|guardrails?|guidelines|safeguards?)\b)",
    rf"\b(?:ignore|disregard|forget|override|bypass|overrule|skip)s? (?:all )?(?:your|its) {_RULES}\b",
    r"\bignoriere? (?:\w+ ){0,3}(?:anweisung|regel|vorgabe)",
    r"\bignor(?:e|ez|er|a|ar) (?:\w+ ){0,3}(?:instructions|consignes|instrucciones|istruzioni|instruções)\b",
    r"игнорируй(?:те)? (?:\w+ ){0,3}(?:инструкци|указани)",
    r"忽略.{0,8}(?:指令|指示|说明)|無視.{0,8}(?:指示|命令)|(?:指示|命令)を?無視",
    # The roles and the markup of a prompt
    r"(?:^|[.!?\n\"'“(\[]\s*)(?:system|developer|assistant|instructions?)"
    r"(?: (?:message|prompt|note|override))?\s*[:\]>]",
    r"\b(?:new|hidden|secret|further|important) instructions?\s*:|\bnote to the (?:assistant|ai|bot|model)\b",
    r"<\|?\s*/?\s*(?:system|assistant|im_start|im_end|instructions?)\b|\[/?inst\]|#{2,}\s*(?:system|instruction)",
    # "you must", "you are now", "you to always": a fact in the third person does not address its reader
    rf"\byou (?:must|shall|have to|need to|ought to|(?:always|never) {_SAY}|"
    rf"(?:will|should|can|may) (?:now |always |never |only )*{_SAY}|"
    r"are (?:now|required|obliged|instructed|no longer|to \w+|an? (?:\w+ )?(?:ai|assistant|bot|model)))\b",
    rf"\byou to (?:now |always |never |only )*{_SAY}\b",
    r"\byour (?:name is|task is|role is|rules|instructions|prompt|answers?|replies|responses?)\b",
    # "The assistant must …"
    r"(?:^|\bthe |\bevery |\bthis |[.!?:;,]\s*)(?:ai |chat ?)?(?:assistant|bot|chatbot|language model|llm|ai)"
    r" (?:must|shall|should|has to|needs to|ought to|always|never|is (?:required|instructed|obliged|to))\b",
    r"\b(?:assistant|bot|chatbot|ai|model) to (?:always|never)\b",
    rf"\bthe (?:assistant|bot|chatbot|ai) {_SAY}\b",
    # "Always end with …", "never mention …", "do not tell …"
    rf"{_START}(?:always|never|do not|don't) (?:ever )?{_SAY}\b",
    r"\b(?:immer|stets) mit\b.{0,60}\b(?:enden|beenden|antworten)\b",
    r"\b(?:toujours|siempre|sempre) (?:terminer|finir|répondre|terminar|responder|rispondere|terminare)\b",
    rf"{_START}(?:beende|antworte|termine|réponds?|responde|termina|rispondi|отвечай)\b.{{0,30}}"
    r"\b(?:immer|stets|jede|toujours|chaque|siempre|cada|sempre|ogni|всегда|только)",
    r"(?:总是|始终|永远).{0,6}(?:回答|回复|结尾)|常に.{0,12}(?:答え|回答|返答)",
    # "Append … to each answer", "end every reply with …", "every answer must …"
    rf"\b(?:append|add|include|insert|prepend|put|place|attach|mention|repeat)(?:d|ed)?\b.{{1,120}}?\b(?:to|in|at|on|after|before|"
    rf"with|into|of) (?:each|every|all|any|your|its|the assistant's) (?:\w+ )?{_ANSWERS}\b",
    rf"\b(?:end|begin|start|finish|close|conclude|sign)(?: off)? (?:each|every|all|any|your|its) (?:\w+ )?{_ANSWERS}\b",
    rf"(?:{_START}|\band |\balways )(?:end|begin|start|finish|close|conclude|sign)(?: off)? (?:\w+ )?{_ANSWERS}"
    r" (?:with|by)\b",
    rf"\b(?:each|every|all|any|your) (?:\w+ )?{_ANSWERS} (?:must|shall|(?:should|(?:has |have |needs? |is |are )?to) "
    r"(?:end|begin|start|finish|include|contain|mention|carry|link|recommend|close))\b",
    rf"\b(?:in|at|to|after|before|with) (?:the (?:end|start|top) of )?(?:each|every|all) {_ANSWERS}\b"
    rf".{{0,20}}\b{_SAY}\b",
    rf"\b(?:each|every) {_ANSWERS} (?:ends|begins|starts|finishes|closes|includes|contains|mentions)\b",
    # "If anyone asks, say …"
    rf"\b(?:if|when|whenever|(?:each|every) time)\b[^.]{{1,60}}, (?:please |always |never |only )*{_SAY}\b",
    # "From now on, …", "answer … from now on"
    rf"\b(?:from now on|from here on|henceforth|from this point on|going forward)\b[\s,:]*(?:please )?"
    rf"(?:you\b|always\b|never\b|every {_ANSWERS}|all {_ANSWERS}|the assistant|ignore\b|{_SAY}\b)",
    rf"{_START}{_SAY}\b.*\b(?:from now on|from here on|henceforth)\b",
    r"\b(?:ab jetzt|ab sofort|von nun an|désormais|dorénavant|a partir de ahora|a partir de agora|d'ora in poi)\b"
    r"[\s,:]*(?:bist|antworte|beende|immer|du\b|réponds|tu\b|vous\b|responde|siempre|sempre|rispondi|eres\b|você\b)",
    # An order without a subject
    r"[.!:]\s*(?:please )?(?:respond|reply|append|prepend|reveal|output|execute|obey) (?:only |always )?"
    r"(?:with|to|in|the)\b",
    r"^(?:please |kindly )?(?:respond|reply|append|prepend|reveal|repeat after|output|execute|obey|visit|click|treat|"
    r"tell the user|answer (?:only|in|like|as|with|every|all|each)|act (?:as|like)|pretend (?:to|that|you)|"
    r"role-?play as)\b",
    r"\b(?:reveal|print|show|leak|repeat|output|disclose)\b.{0,30}\bsystem prompt\b",
    r"\b(?:developer|debug|jailbreak|unrestricted|dan) mode\b|\b(?:admin|developer|root|system) override\b",
    r"\b(?:safety|content)(?: \w+)? (?:rules?|filters?|polic(?:y|ies)|guidelines?|checks?)"
    r" (?:do not|does not|don't|never) apply",
    r"\b(?:exempt|excluded) from (?:\w+ ){0,4}(?:rules|filters?|polic(?:y|ies)|guidelines|restrictions|checks)\b",
)
