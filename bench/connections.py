"""Measures the CPU time of TLS in a function: at its start, for its first lookup, and for one after an idle minute.

Run by `make bench`. Compare with the time to read the file of certificates once. Without our code urllib3 reads it for
each connection, and the start opens six. Less than three reads in total is good.
"""

import os
import statistics
import tempfile
from dataclasses import fields
from pathlib import Path

from local_stack import template
from local_stack.dynamodb.server import DynamoDB
from local_stack.identity.certificates import Authority
from tests.contract.lookup_costs import Costs, measure_costs
from tests.wire.bedrock_standin import standin

ROUNDS = 5


def main() -> None:
    os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    with tempfile.TemporaryDirectory() as folder, standin() as bedrock:
        authority = Authority(Path(folder), ["127.0.0.1"])
        plain, tls = DynamoDB(), DynamoDB()
        plain.start()
        tls.start(tls=authority.server_context())
        for properties in template.read(Path("template.yaml")).tables:
            plain.create_table(properties)
            tls.create_table(properties)
        costs: dict[str, list[Costs]] = {"plain": [], "tls": []}
        for _ in range(ROUNDS):
            for kind, table in (("plain", plain), ("tls", tls)):
                costs[kind].append(measure_costs(authority.bundle, table=table.url, model=bedrock.url))
        plain.stop()
        tls.stop()
    print("milliseconds of CPU, median of", ROUNDS)
    for field in fields(Costs):
        figures = (
            1000 * statistics.median(getattr(each, field.name).cpu_seconds for each in costs[kind]) for kind in costs
        )
        print(
            f"  {field.name:12}",
            "".join(f"{kind} {figure:6.1f}   " for kind, figure in zip(costs, figures, strict=True)),
        )


if __name__ == "__main__":
    main()
