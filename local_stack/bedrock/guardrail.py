"""Emulates a guardrail: blocks or masks an answer, and adds the trace.

https://docs.aws.amazon.com/bedrock/latest/userguide/guardrails-streaming.html: in mode `sync` the guardrail checks
pieces of the answer before they are sent, so an answer is blocked after text that has passed. `async` sends the text
without delay and does not mask. An answer in one piece is blocked as a whole. A masked answer also ends with
`guardrail_intervened`. Stop reason and trace are as recorded by traceloop/openllmetry
(test_guardrail_converse_stream.yaml). That the guardrail's message is a separate content block is a guess.
"""

from dataclasses import replace

from local_stack.bedrock import answer_text, conversation, directives
from local_stack.bedrock.directives import Directives
from local_stack.bedrock.events import Json
from local_stack.bedrock.reply import Block, Reply, limited

BLOCKED = "Sorry, the model cannot answer this question."
MASK = "{NAME}"
_INTERVENED = "guardrail_intervened"


def apply_guardrail(reply: Reply, body: Json, requested: Directives) -> Reply:
    """Return the reply after the guardrail of the request. Without a guardrail it is not changed."""
    config = body.get("guardrailConfig")
    if config is None:
        return reply
    if any(map(directives.is_blocked, conversation.guarded_texts(body))):
        trace = _trace(config, "Guardrail blocked.", input_assessment=_assessment("BLOCKED"))
        return Reply((_blocked_message(),), _INTERVENED, trace)
    if requested.block_after is not None:
        streamed = "streamProcessingMode" in config
        hidden = sum(block.hidden for block in reply.blocks)  # reasoning without text
        limit = requested.block_after + hidden
        passed = limited(reply, limit).blocks if streamed and requested.block_after else ()
        trace = _trace(config, "No action.\nGuardrail blocked.", output_assessment=_assessment("BLOCKED"))
        return Reply((*passed, _blocked_message()), _INTERVENED, trace)
    if requested.mask and any(requested.mask in _text(block) for block in reply.blocks):
        unmasked = config.get("streamProcessingMode") == "async"
        blocks = reply.blocks if unmasked else tuple(_masked(block, requested.mask) for block in reply.blocks)
        assessment = _assessment("ANONYMIZED", requested.mask)
        trace = _trace(config, "No action.\nGuardrail masked.", output_assessment=assessment)
        return Reply(blocks, _INTERVENED, trace)
    return reply


def _blocked_message() -> Block:
    return Block(tuple({"text": token} for token in answer_text.tokens(BLOCKED)))


def _text(block: Block) -> str:
    return "".join(delta.get("text", "") for delta in block.deltas)


def _masked(block: Block, word: str) -> Block:
    """Return the block with the word masked. A block without this word is not changed."""
    text = _text(block)
    if word not in text:
        return block
    rest = tuple(delta for delta in block.deltas if "text" not in delta)
    return replace(block, deltas=(*({"text": token} for token in answer_text.tokens(text.replace(word, MASK))), *rest))


def _assessment(action: str, match: str = "word") -> Json:
    """Return an assessment with one policy that took this action."""
    if action == "BLOCKED":
        return {"wordPolicy": {"customWords": [{"match": match, "action": action, "detected": True}]}}
    entity = {"type": "NAME", "match": match, "action": action, "detected": True}
    return {"sensitiveInformationPolicy": {"piiEntities": [entity]}}


def _trace(
    config: Json, reason: str, input_assessment: Json | None = None, output_assessment: Json | None = None
) -> Json | None:
    """Return the trace, or None if the request does not enable it."""
    if config.get("trace", "disabled") == "disabled":
        return None
    identity = config["guardrailIdentifier"]
    trace: Json = {"actionReason": reason, "inputAssessment": {identity: input_assessment or {}}}
    if output_assessment:
        trace["outputAssessments"] = {identity: [output_assessment]}
    return {"guardrail": trace}
