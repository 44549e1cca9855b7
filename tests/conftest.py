"""What all tests share."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

# A shell that starts the tests in its background has them, and what they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test may fail because a machine is slow.
settings.register_profile(
    "iosfast", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("iosfast")


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A function that writes bytes to a new file and returns its path, also within hypothesis."""
    folder = tmp_path_factory.mktemp("files")
    count = iter(range(1_000_000))

    def write(content):
        path = folder / f"{next(count)}.bin"
        path.write_bytes(content)
        return str(path)

    return write


@pytest.fixture(scope="session")
def sam2_folder(tmp_path_factory):
    """A folder with a checkpoint of seeded weights, and the model exported from it."""
    import sam2_reference

    return sam2_reference.exported(tmp_path_factory.mktemp("sam2"))


@pytest.fixture(scope="module")
def one_torch_thread():
    """Small problems are faster without threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
