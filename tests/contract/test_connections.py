"""Connections to AWS: what they cost, how many there are, and which outlive a pause."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from chat.memory.lookup import LOOKUPS
from chat.store.limits import SIDE_BY_SIDE
from local_stack.authority import Authority
from local_stack.dynamodb import DynamoDB
from tests.stack import ROOT
from tests.wire.bedrock_standin import standin
from tests.wire.slow_tls import SlowTls, slow_tls

HANDSHAKES = 1.5  # what six of them may cost, in readings of the certificates; one reading takes some 16 ms


@dataclass(frozen=True)
class Costs:
    """CPU seconds, as lookup_costs.py prints them."""

    certificates: float  # one reading of them
    start: float
    first: float  # lookup
    second: float
    later: float  # after a minute of silence


def lookup_costs(**environment: str) -> Costs:
    path = os.pathsep.join(str(ROOT / each) for each in ("layers/chat", "layers/streaming_runtime", "."))
    done = subprocess.run(
        [sys.executable, "-m", "tests.contract.lookup_costs"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Costs(**json.loads(done.stdout))


@pytest.fixture
def behind_tls(moto: DynamoDB, authority: Authority) -> Iterator[tuple[SlowTls, SlowTls]]:
    """The table and a model."""
    context = authority.server_context()
    with standin() as bedrock, slow_tls(moto.url, 0, context) as table, slow_tls(bedrock.url, 0, context) as model:
        yield table, model


def test_a_first_lookup_and_one_after_a_pause_open_no_connection_and_read_no_certificates(
    moto: DynamoDB, authority: Authority, behind_tls: tuple[SlowTls, SlowTls]
) -> None:
    """All that TLS costs is paid at the start: the certificates are read once, for all connections."""
    table, model = behind_tls
    with standin() as bedrock:
        plain = lookup_costs(
            AWS_ENDPOINT_URL_DYNAMODB=moto.url,
            AWS_ENDPOINT_URL_BEDROCK_RUNTIME=bedrock.url,
            AWS_CA_BUNDLE=str(authority.bundle),
        )
    tls = lookup_costs(
        AWS_ENDPOINT_URL_DYNAMODB=table.url,
        AWS_ENDPOINT_URL_BEDROCK_RUNTIME=model.url,
        AWS_CA_BUNDLE=str(authority.bundle),
    )
    assert (table.accepted, model.accepted) == (SIDE_BY_SIDE + LOOKUPS, 1)
    assert tls.start - plain.start < (1 + HANDSHAKES) * tls.certificates
    assert tls.first - plain.first < tls.certificates / 2
    assert tls.later - plain.later < tls.certificates / 2
