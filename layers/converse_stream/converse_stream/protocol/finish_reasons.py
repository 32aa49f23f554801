"""The finish reasons of answers, with those of Bedrock and of OpenAI. The AI SDK uses ours unchanged."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finish:
    """One finish reason: the stop reasons of Bedrock (none if we ended the answer), and the `finish_reason` of OpenAI.

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
UNKNOWN = Finish((), "stop")  # a stop reason that is not in the table
MALFORMED = frozenset({"malformed_model_output", "malformed_tool_use"})  # stop reasons that are errors

_BEDROCK = {reason: ours for ours, finish in FINISH.items() for reason in finish.bedrock}


def from_bedrock(stop_reason: str) -> str:
    """Returns our finish reason for a stop reason of Bedrock; an unknown one unchanged."""
    return _BEDROCK.get(stop_reason, stop_reason)
