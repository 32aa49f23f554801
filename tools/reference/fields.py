"""Descriptions of fields that have none in the code. Keys are `Schema.field`, or `*.field` for all other schemas."""

from collections.abc import Mapping
from typing import Any

from tools.reference.markdown import StaleTextError

TEXTS = {
    # Requests
    "ChatRequest.message": "Needed for `send`, and not accepted with another action.",
    "ChatRequest.action": "`send` sends a message, `regenerate` replaces the last answer, `continue` extends it.",
    "ChatRequest.conversationId": "May be chosen by the client. Without one, a new conversation is created. Needed for "
    "`regenerate` and `continue`.",
    "ChatRequest.model": "Alias of the model; without one, `DefaultModel`.",
    "*.options": "How the model answers.",
    "*.utcOffset": "The offset of the user's time from UTC, from `-12:00` to `+14:00`, for the date in the prompt. "
    "Without it the date is in UTC.",
    "NewMessage.text": "The message. `MAX_MESSAGE_CHARS` limits it further.",
    "Options.maxTokens": "Most tokens of the answer. The model may have a lower limit.",
    "Options.temperature": "Not together with `reasoning`.",
    "Options.topP": "Not together with `reasoning`; with some models not together with `temperature`.",
    "Options.stop": "The answer ends before one of these texts.",
    "Options.reasoning": "Effort of the model's reasoning, for models that have it.",
    "Options.serviceTier": "Bedrock's service tier, for models that have it.",
    "Options.latency": "Bedrock's optimized latency, for models that have it. Not together with `serviceTier`.",
    "Options.schema": "JSON Schema of type object. The text of the answer is then JSON of this schema.",
    "CancelRequest.generationId": "Cancels only this generation. Without it, the one that runs.",
    "NewConversation.id": "May be chosen by the client.",
    "NewFact.text": "The fact. `MAX_FACT_CHARS` limits it further.",
    "NewProfile.learning": "Whether facts are learned from the user's messages.",
    "ProfileChange.learning": "Whether facts are learned from the user's messages.",
    "NewProfile.name": "How the user is addressed.",
    "ProfileChange.name": "How the user is addressed.",
    "Profile.name": "How the user is addressed.",
    "*.assistantName": "What the assistant is called.",
    "*.about": "What the assistant should know about the user, and the user's wishes for answers.",
    "AiChatRequest.id": "The conversation.",
    "AiChatRequest.messages": "Only the last one is read; it must be a text of the user.",
    "AiChatRequest.messageId": "For `regenerate-message`: the answer that is replaced.",
    # Events and answers
    "*.conversationId": "The conversation.",
    "StartEvent.messageId": "The message that the answer becomes.",
    "Answer.messageId": "The message of the answer.",
    "*.generationId": "The generation; it is also in the ids of its events.",
    "*.model": "Alias of the model.",
    "ProgressEvent.stage": "See the next table.",
    "ProgressEvent.detail": "Text for people, or the name of a model.",
    "ChunkEvent.content": "Text to append to the answer.",
    "ReasoningEvent.content": "Text to append to the reasoning, which is not part of the answer.",
    "*.title": "Title.",
    "*.url": "Address of the source.",
    "*.document": "File or object that is the source.",
    "*.fact": "Id of a fact of the user that is the source.",
    "*.quote": "The passage of the source.",
    "ToolEvent.id": "Id of the call. The result or the error of a call has the same id.",
    "ToolEvent.name": "Name of the tool.",
    "ToolEvent.state": "What this event is about.",
    "ToolEvent.input": "Arguments of the call.",
    "ToolEvent.output": "Result of the call.",
    "ToolEvent.error": "Error of the call.",
    "RollbackEvent.position": "Where the answer ends now.",
    "*.finishReason": "Why the answer ended.",
    "*.userMessage": "The user's message as it is stored.",
    "*.aiMessage": "The whole answer as it is stored.",
    "*.usage": "What the answer used.",
    "*.metrics": "Times.",
    "ErrorEvent.code": "A code of [models](errors.md#codes-of-models), `storage`, `internal`, or "
    "`not_found` after a deletion.",
    "*.code": "Identifies the error.",
    "ErrorDetail.message": "Text for people.",
    "MessageFailure.message": "Text for people.",
    "ErrorEvent.message": "Text for people.",
    "*.retryable": "Whether the same request may succeed later.",
    "*.requestId": "Id of the request, for the log.",
    "ErrorEvent.messageId": "The message that holds what had come. Absent if it could not be stored.",
    "PlainContent.content": "Text to append to the answer.",
    "PlainError.error": "Text for people.",
    "Message.role": "Who wrote it.",
    "Message.createdAt": "ISO 8601, in UTC.",
    "Conversation.updatedAt": "Time of the last change: ISO 8601, in UTC.",
    "Fact.createdAt": "When the user added it, or sent the message: ISO 8601, in UTC.",
    "Fact.confidence": "How sure the model is, 0 to 1. Only of facts that were learned.",
    "Fact.message": "Number of the message in its conversation, from 1. Only of facts that were learned.",
    "Metrics.durationMs": "Milliseconds until the answer ended.",
    "Metrics.firstTokenMs": "Milliseconds until the first token.",
    "Usage.cacheReadTokens": "Input tokens that were read from Bedrock's prompt cache.",
    "Usage.cacheWriteTokens": "Input tokens that were written to Bedrock's prompt cache.",
    "Usage.basis": "How the tokens are known.",
    "ConversationPage.cursor": "Absent on the last page.",
    "MessagePage.cursor": "Absent on the last page.",
}


def text(schema: str, field: str, described: Mapping[str, Any]) -> str:
    """Return the description of a field: that of the code, or that of this module, or an empty string."""
    own: str = described.get("description", "")
    return own or TEXTS.get(f"{schema}.{field}", TEXTS.get(f"*.{field}", ""))


def check(schemas: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises StaleTextError if a field of this module does not exist, or has a description in the code."""
    fields = {(name, field): each for name in schemas for field, each in schemas[name].get("properties", {}).items()}
    for key in TEXTS:
        schema, _, field = key.partition(".")
        matching = [each for (name, named), each in fields.items() if field == named and schema in ("*", name)]
        if not any("description" not in each for each in matching):
            raise StaleTextError(f"fields.TEXTS: {key} has no use any more")
