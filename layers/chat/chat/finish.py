"""Why an answer ended: our words, Bedrock's and those of the other dialects, in this one table."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finish:
    """Bedrock's stop reasons, none for an end of ours, and how the AI SDK and OpenAI's protocol call it.

    https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html (stopReason),
    `FinishReason` of the npm package `ai`, and `finish_reason` of OpenAI's chat completions.
    """

    bedrock: tuple[str, ...]
    ai_sdk: str
    openai: str


FINISH = {
    "stop": Finish(("end_turn", "stop_sequence"), "stop", "stop"),
    "length": Finish(("max_tokens", "model_context_window_exceeded"), "length", "length"),
    "content-filter": Finish(("content_filtered", "guardrail_intervened"), "content-filter", "content_filter"),
    "tool-calls": Finish(("tool_use",), "tool-calls", "tool_calls"),
    "cancelled": Finish((), "other", "stop"),  # the AI SDK is told of it by `abort`
    "deadline": Finish((), "length", "length"),
    "budget": Finish((), "length", "length"),
    "lost": Finish((), "other", "length"),
}
UNKNOWN = Finish((), "other", "stop")  # a reason that a model made up since
MALFORMED = frozenset({"malformed_model_output", "malformed_tool_use"})  # no end of an answer: an error

_BEDROCK = {reason: ours for ours, finish in FINISH.items() for reason in finish.bedrock}


def from_bedrock(stop_reason: str) -> str:
    """Ours for Bedrock's; an unknown one as it is."""
    return _BEDROCK.get(stop_reason, stop_reason)
