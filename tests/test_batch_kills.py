"""What is killed leaves nothing half; many kills: ``python tests/batch_kills.py``."""

from __future__ import annotations

from batch_kills import Killing, make_archive


def test_killed_and_resumed(tmp_path):
    archive = make_archive(tmp_path / "archive", waves=0, others=3)
    killing = Killing(tmp_path, 5, archive, "preprocess", workers=1)
    killing.round(("command", "worker"))  # which goes on with what the first has left
    assert killing.counts["rounds"] == 1
