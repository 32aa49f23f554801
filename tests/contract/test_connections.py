"""Connections to AWS: their number, and their CPU time."""

from converse_stream.memory.lookup import LOOKUPS
from converse_stream.store.usage import PARALLEL_CALLS
from local_stack.dynamodb.server import DynamoDB
from local_stack.identity.certificates import Authority
from tests.contract.lookup_costs import measure_costs
from tests.wire.bedrock_standin import standin
from tests.wire.slow_tls import slow_tls

HANDSHAKES = 1.5  # limit for six handshakes, in units of one reading of the certificates (about 16 ms)


def test_a_first_lookup_and_one_after_a_pause_open_no_connection_and_read_no_certificates(
    moto: DynamoDB, authority: Authority
) -> None:
    """The init phase opens all TLS connections and reads the certificates once."""
    context = authority.server_context()
    with standin() as bedrock:
        plain = measure_costs(authority.bundle, table=moto.url, model=bedrock.url)
        with slow_tls(moto.url, 0, context) as table, slow_tls(bedrock.url, 0, context) as model:
            tls = measure_costs(authority.bundle, table=table.url, model=model.url)
    assert (table.accepted, model.accepted) == (PARALLEL_CALLS + LOOKUPS, 1)
    assert tls.start - plain.start < (1 + HANDSHAKES) * tls.certificates
    assert tls.first - plain.first < tls.certificates / 2
    assert tls.later - plain.later < tls.certificates / 2
