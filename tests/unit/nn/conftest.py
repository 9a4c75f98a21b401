import pytest

import small_cache


@pytest.fixture
def cache(tmp_path):
    """The cache of `small_cache`; its labels are `small_cache.TARGETS`."""
    return small_cache.write(tmp_path / "tensors")
