"""Why an answer ended: our words, Bedrock's and OpenAI's, in this one table. The AI SDK is told ours as they are."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finish:
    """Bedrock's stop reasons, none for an end of ours, and the `finish_reason` of OpenAI's chat completions.

    https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html (stopReason)
    """

    bedrock: tuple[str, ...]
    openai: str


FINISH = {
    "stop": Finish(("end_turn", "stop_sequence"), "stop"),
    "length": Finish(("max_tokens", "model_context_window_exceeded"), "length"),
    "content-filter": Finish(("content_filtered", "guardrail_intervened"), "content_filter"),
    "tool-calls": Finish(("tool_use",), "tool_calls"),
    "cancelled": Finish((), "stop"),
    "deadline": Finish((), "length"),
    "budget": Finish((), "length"),
    "lost": Finish((), "length"),
}
UNKNOWN = Finish((), "stop")  # a reason that a model made up since
MALFORMED = frozenset({"malformed_model_output", "malformed_tool_use"})  # no end of an answer: an error

_BEDROCK = {reason: ours for ours, finish in FINISH.items() for reason in finish.bedrock}


def from_bedrock(stop_reason: str) -> str:
    """Ours for Bedrock's; an unknown one as it is."""
    return _BEDROCK.get(stop_reason, stop_reason)
