"""The token buckets of a stage, with a simulated clock."""

from local_stack.entry_points.throttling import Throttling
from local_stack.template import Throttle


def test_bucket_is_refilled_at_its_rate_up_to_its_burst() -> None:
    now = 0.0
    throttling = Throttling(Throttle(rate=2, burst=3), clock=lambda: now)
    assert [throttling.admits("GET /a") for _ in range(4)] == [True, True, True, False]
    now = 0.5
    assert [throttling.admits("GET /a") for _ in range(2)] == [True, False]
    now = 60.0
    assert [throttling.admits("GET /b") for _ in range(4)] == [True, True, True, False]


def test_route_with_its_own_throttle_has_its_own_bucket() -> None:
    route_throttles = {"POST /stop": Throttle(rate=1, burst=1)}
    throttling = Throttling(Throttle(rate=1, burst=1), route_throttles, clock=lambda: 0.0)
    assert [throttling.admits(key) for key in ("GET /a", "GET /b", "POST /stop", "POST /stop")] == [
        True,
        False,
        True,
        False,
    ]


def test_stage_without_a_throttle_admits_every_request() -> None:
    throttling = Throttling(None)
    assert all(throttling.admits("GET /a") for _ in range(10_000))
