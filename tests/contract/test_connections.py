"""Connections to AWS: when they are opened, and how often the certificates are read."""

from converse_stream.memory.lookup import LOOKUPS
from converse_stream.store.usage import PARALLEL_CALLS
from local_stack.dynamodb.server import DynamoDB
from local_stack.identity.certificates import Authority
from tests.contract.lookup_costs import measure_costs
from tests.wire.bedrock_standin import standin
from tests.wire.slow_tls import slow_tls


def test_a_first_lookup_and_one_after_a_pause_open_no_connection_and_read_no_certificates(
    moto: DynamoDB, authority: Authority
) -> None:
    """The init phase opens all TLS connections and reads the certificates once."""
    context = authority.server_context()
    with standin() as bedrock, slow_tls(moto.url, 0, context) as table, slow_tls(bedrock.url, 0, context) as model:
        costs = measure_costs(authority.bundle, table=table.url, model=model.url)
    assert (table.accepted, model.accepted) == (PARALLEL_CALLS + LOOKUPS, 1)
    assert (costs.start.certificate_reads, costs.start.handshakes) == (1, PARALLEL_CALLS + LOOKUPS + 1)
    assert [(cost.certificate_reads, cost.handshakes) for cost in (costs.first, costs.second, costs.later)] == [
        (0, 0)
    ] * 3
