"""Without PyTorch there is nothing here to compare with: the folder is not even imported."""

from importlib.util import find_spec

import pytest

from xaijax import data

collect_ignore_glob = [] if find_spec("torch") else ["*.py"]


@pytest.fixture(scope="session")
def photographs():
    """Photographs of known classes of ImageNet."""
    missing = [name for name in ("PIL", "foolbox", "alibi") if find_spec(name) is None]
    if missing:
        pytest.skip(f"needs the packages {', '.join(missing)}, for their photographs")
    return data.photographs()
