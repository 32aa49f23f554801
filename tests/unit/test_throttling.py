"""The token buckets of a stage, on a clock of the test's own."""

from local_stack.entry_points.throttling import Throttling
from local_stack.template import Throttle


def test_a_bucket_is_refilled_at_its_rate_up_to_its_burst() -> None:
    now = 0.0
    throttling = Throttling(Throttle(rate=2, burst=3), clock=lambda: now)
    assert [throttling.admits("GET /a") for _ in range(4)] == [True, True, True, False]
    now = 0.5
    assert [throttling.admits("GET /a") for _ in range(2)] == [True, False]
    now = 60.0
    assert [throttling.admits("GET /b") for _ in range(4)] == [True, True, True, False]


def test_a_route_with_settings_of_its_own_has_a_bucket_of_its_own() -> None:
    own = {"POST /stop": Throttle(rate=1, burst=1)}
    throttling = Throttling(Throttle(rate=1, burst=1), own, clock=lambda: 0.0)
    assert [throttling.admits(key) for key in ("GET /a", "GET /b", "POST /stop", "POST /stop")] == [
        True,
        False,
        True,
        False,
    ]


def test_a_stage_without_a_throttle_admits_all() -> None:
    throttling = Throttling(None)
    assert all(throttling.admits("GET /a") for _ in range(10_000))
