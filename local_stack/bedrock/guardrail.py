"""What a guardrail lets through of an answer, and the trace that tells of it.

https://docs.aws.amazon.com/bedrock/latest/userguide/guardrails-streaming.html: `sync` looks at pieces of the answer
before they are sent, so a stop comes behind pieces that passed; `async` sends everything at once and does not mask. An
answer in one piece is stopped as a whole. Masking ends with `guardrail_intervened` too: the stop reason, the trace's
form and its words are those that traceloop/openllmetry recorded (test_guardrail_converse_stream.yaml). That the
guardrail's own words are a content block of their own is a guess: no source says it.
"""

from dataclasses import replace

from local_stack.bedrock import conversation, directives, texts
from local_stack.bedrock.directives import Directives
from local_stack.bedrock.events import Json
from local_stack.bedrock.reply import Block, Reply, limited

BLOCKED = "Sorry, the model cannot answer this question."
MASK = "{NAME}"
_INTERVENED = "guardrail_intervened"


def judged(reply: Reply, body: Json, wish: Directives) -> Reply:
    """The reply as the request's guardrail lets it through; the same where there is none."""
    config = body.get("guardrailConfig")
    if config is None:
        return reply
    if any(map(directives.blocked, conversation.judged(body))):
        return Reply((_words(),), _INTERVENED, _trace(config, "Guardrail blocked.", asked=_policy("BLOCKED")))
    if wish.block_after is not None:
        streamed = "streamProcessingMode" in config
        passed = limited(reply, wish.block_after).blocks if streamed and wish.block_after else ()
        trace = _trace(config, "No action.\nGuardrail blocked.", said=_policy("BLOCKED"))
        return Reply((*passed, _words()), _INTERVENED, trace)
    if wish.mask and any(wish.mask in _text(block) for block in reply.blocks):
        shown = config.get("streamProcessingMode") == "async"
        blocks = reply.blocks if shown else tuple(_masked(block, wish.mask) for block in reply.blocks)
        trace = _trace(config, "No action.\nGuardrail masked.", said=_policy("ANONYMIZED", wish.mask))
        return Reply(blocks, _INTERVENED, trace)
    return reply


def _words() -> Block:
    return Block(tuple({"text": token} for token in texts.tokens(BLOCKED)))


def _text(block: Block) -> str:
    return "".join(delta.get("text", "") for delta in block.deltas)


def _masked(block: Block, word: str) -> Block:
    """A text block with the word masked; what has no text stays as it is."""
    text = _text(block)
    if word not in text:
        return block
    rest = tuple(delta for delta in block.deltas if "text" not in delta)
    return replace(block, deltas=(*({"text": token} for token in texts.tokens(text.replace(word, MASK))), *rest))


def _policy(action: str, match: str = "word") -> Json:
    """An assessment in which one policy did something."""
    if action == "BLOCKED":
        return {"wordPolicy": {"customWords": [{"match": match, "action": action, "detected": True}]}}
    entity = {"type": "NAME", "match": match, "action": action, "detected": True}
    return {"sensitiveInformationPolicy": {"piiEntities": [entity]}}


def _trace(config: Json, reason: str, asked: Json | None = None, said: Json | None = None) -> Json | None:
    """The trace, if the request wants one."""
    if config.get("trace", "disabled") == "disabled":
        return None
    identity = config["guardrailIdentifier"]
    trace: Json = {"actionReason": reason, "inputAssessment": {identity: asked or {}}}
    if said:
        trace["outputAssessments"] = {identity: [said]}
    return {"guardrail": trace}
