"""How many examples a property test tries: few and the same ones in CI, as many as POSTERITY_EXAMPLES says elsewhere.

POSTERITY_EXAMPLES=5000 pytest tests/unit -k "round_trip"
"""

import os

from hypothesis import HealthCheck, settings

LONG = os.environ.get("POSTERITY_EXAMPLES")


def examples(number: int) -> settings:
    """Settings of a test that tries ``number`` examples in CI."""
    return settings(
        max_examples=int(LONG) if LONG else number,
        derandomize=not LONG,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
