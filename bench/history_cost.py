"""Compares what the input of whole conversations costs: without a cache, with the rules of 0.1.0, and with today's.

Run by `make bench`. The prompts are built by the code of the functions, the cost is computed from the catalog, and the
cache is emulated: an entry ends at each cache point of a request, and a later request reads the longest entry that it
begins with. Claude finds every entry, Nova only those that end at a cache point of the request too. There are no
pauses, so no entry expires. Tokens are estimates.

The rules of 0.1.0: of at most 40 messages, the oldest are left out in blocks of eight, and each request has three cache
points.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from converse_stream.model.cache_points import CachePoints, cache_points
from converse_stream.model.capabilities import Model
from converse_stream.model.catalog import Catalog
from converse_stream.prompts.history import history
from converse_stream.prompts.prompt import Prompt, PromptMessage, ToolResult, ToolSpec, ToolUse, tool_tokens
from converse_stream.protocol.events import Chunk, Message, SentPrompt, Usage
from converse_stream.protocol.options import Options
from converse_stream.protocol.tokens import estimate_tokens

MODELS = ("claude-sonnet", "claude-haiku", "claude-haiku-4-5", "nova-lite")
ANSWERS = (150, 600, 2_500)  # words
TURNS = range(60)
BUDGET, BLOCK = 12_000, 8
SYSTEM = "You are a helpful assistant. " * 30
QUESTION = "And what would you do if the river were too cold to swim in at that time of the year? "
RESULT = "The river is cold. " * 300
CALL = ToolUse("call", "search", {"text": QUESTION})
TOOL = ToolSpec("search", "Searches the documents.", {"type": "object", "properties": {"text": {"type": "string"}}})

Points = Callable[[Prompt, int], CachePoints]


@dataclass(frozen=True)
class Rule:
    """How a prompt is made: from how many messages, which is the first, and where the cache points are."""

    messages: int  # that are read
    first: Callable[[Sequence[Message], int], int]
    points: Points


def three_points(prompt: Prompt, _: int) -> CachePoints:
    """The cache points of 0.1.0."""
    return CachePoints(system=True, history=tuple(range(len(prompt.history))[1::2][-2:]))


def first_of_block(messages: Sequence[Message], before: int) -> int:
    """The first message by the rule of 0.1.0. `before` is the number of messages that were not read."""
    totals = [*accumulate(reversed([estimate_tokens(each.text) for each in messages]), initial=0)][::-1]
    fitting = next(index for index, total in enumerate(totals) if total <= BUDGET)
    blocks = range(fitting + -(before + fitting) % BLOCK, len(messages), BLOCK)
    return next((index for index in blocks if 2 * totals[index] >= totals[fitting]), fitting)


def first_of_half(messages: Sequence[Message], before: int) -> int:
    """The first message by today's rule."""
    return history(messages, before + 1, BUDGET).first - before - 1


RULES = {
    "0.1.0": Rule(40, first_of_block, three_points),
    "today": Rule(60, first_of_half, cache_points),
}


def conversation(words: int, rule: Rule) -> Iterator[Prompt]:
    """The prompts of a conversation whose answers have this many words."""
    stored: list[Message] = []
    for number in TURNS:
        read = stored[-rule.messages :]
        before = len(stored) - len(read)
        first = rule.first(read, before)
        turns = tuple(PromptMessage(each.role, (each.text,)) for each in read[first:])
        turn = PromptMessage("user", (f"{number}. {QUESTION}",))
        yield Prompt(SYSTEM, turns, "", turn, stored=True)
        sent = SentPrompt(before + first + 1, 0)
        answer = Message(f"a{number}", "assistant", (Chunk(f"{number}" + " river" * words),), "", sent=sent)
        stored += [Message(f"q{number}", "user", (Chunk(f"{number}. {QUESTION}"),), ""), answer]


def tool_loop(requests: int) -> Iterator[Prompt]:
    """The requests of a caller that keeps the history, and answers each with the result of a tool."""
    messages = [PromptMessage("user", (QUESTION,))]
    for number in range(requests):
        yield Prompt(SYSTEM * 4, tuple(messages[:-1]), "", messages[-1], tools=(TOOL,))
        messages.append(PromptMessage("assistant", (f"{number}", CALL)))
        messages.append(PromptMessage("user", (ToolResult("call", f"{number} " + RESULT),)))


def input_cost(prompts: Sequence[Prompt], model: Model, points: Points) -> float:
    """The cost of the input of these requests, one after the other."""
    assert model.cache
    entries: set[tuple[Any, ...]] = set()
    cost = 0
    for prompt in prompts:
        turns = (*prompt.history, prompt.turn)
        prefixes = [(prompt.system, *map(repr, turns[:end])) for end in range(len(turns) + 1)]
        sizes = [*accumulate((turn.tokens for turn in turns), initial=tool_tokens(prompt) + estimate_tokens(SYSTEM))]
        where = points(prompt, model.cache.min_tokens)
        ends = [0] * where.system + [index + 1 for index in where.history] + [len(turns)] * where.turn
        ends = [end for end in ends if sizes[end] >= model.cache.min_tokens]
        findable = ends if model.name.startswith("nova") else range(max(ends, default=-1) + 1)
        read = max((sizes[end] for end in findable if prefixes[end] in entries), default=0)
        written = max((sizes[end] for end in ends), default=0)
        entries.update(prefixes[end] for end in ends)
        usage = Usage(sizes[-1] - max(read, written), 0, read, max(0, written - read))
        cost += model.priced(usage, Options()).cost or 0
    return cost


def history_tokens(prompts: Sequence[Prompt]) -> int:
    """The tokens of the history in all requests, from the 30th on."""
    return sum(turn.tokens for prompt in prompts[30:] for turn in prompt.history)


def main() -> None:
    """Print the comparison."""
    catalog = Catalog("us")
    print("Input cost of 60 turns, and the history in turns 30 to 60. Percent of the cost without a cache.")
    print(f"{'model':18}{'words':>6}{'0.1.0':>8}{'today':>8}{'cost today / 0.1.0':>20}{'history today / 0.1.0':>23}")
    for name in MODELS:
        model = catalog[name]
        for words in ANSWERS:
            prompts = {rule_name: list(conversation(words, rule)) for rule_name, rule in RULES.items()}
            costs = {each: input_cost(prompts[each], model, RULES[each].points) for each in RULES}
            bare = {each: input_cost(prompts[each], replace(model), lambda *_: CachePoints()) for each in RULES}
            shares = [f"{costs[each] / bare[each]:8.0%}" for each in RULES]
            kept = history_tokens(prompts["today"]) / history_tokens(prompts["0.1.0"])
            print(f"{name:18}{words:6}{''.join(shares)}{costs['today'] / costs['0.1.0']:20.2f}{kept:23.2f}")
    print("\nInput cost of 10 requests of a tool loop whose caller keeps the history, percent of that without a cache.")
    print(f"{'model':18}{'0.1.0':>8}{'today':>8}")
    for name in MODELS:
        model, loop = catalog[name], list(tool_loop(10))
        bare_cost = input_cost(loop, model, lambda *_: CachePoints())
        shares = [f"{input_cost(loop, model, rule.points) / bare_cost:8.0%}" for rule in RULES.values()]
        print(f"{name:18}{''.join(shares)}")


if __name__ == "__main__":
    main()
