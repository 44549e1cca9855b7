"""What is killed leaves nothing half; many kills: ``python tests/batch_kills.py``."""

from __future__ import annotations

import pytest
from batch_kills import KINDS, Killing, make_archive


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed(tmp_path, kind):
    archive = make_archive(tmp_path / "archive", waves=0, others=3)
    killing = Killing(tmp_path, 5, archive, "preprocess")
    killing.round(kind, 1)
    assert killing.counts["rounds"] == 1
