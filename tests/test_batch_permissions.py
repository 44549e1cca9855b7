"""Folders and files that a batch may not read or write, tried without the rights of root."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

import pytest
from some_archives import archive_of, write_tiff

_RUN = """
import json, sys, warnings
import iosfast
from iosfast.batch.cluster import own_cluster
archive, *places = sys.argv[1:]
warnings.simplefilter("ignore", iosfast.IosfastWarning)
told = []
if __name__ == "__main__":
    with own_cluster(1, 1, 2 << 30, processes=False) as cluster:
        for place in places:
            try:
                result = iosfast.batch(
                    archive,
                    place,
                    resume=True,
                    frame_rate_hz=5.0,
                    picture=False,
                    recipe={"interval_bins": 2},
                    scheduler=cluster.client.scheduler.address,
                )
                told.append({row.planned.name: [row.state, row.error] for row in result.rows})
            except iosfast.WriteError as error:
                told.append(str(error))
    print(json.dumps(told))
"""


def as_an_owner(archive, *places):
    """Run batches of an archive; root, too, has only the rights that an owner has."""
    command = [sys.executable, "-c", _RUN, str(archive), *map(str, places)]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def locked_away():
    """Take rights from paths; they come back at the end, so that all can be removed."""
    before = {}

    def lock(path, mode):
        before[path] = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode)

    yield lock
    for path, mode in before.items():
        path.chmod(mode)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="rights are others there")
def test_what_may_not_be_read_or_written(tmp_path, locked_away):
    archive = archive_of(tmp_path / "archive")
    write_tiff(archive / "closed" / "s.tif", 5)
    write_tiff(archive / "secret.tif", 6)
    for path in (archive / "m0" / "s.tif", archive / "m0"):
        locked_away(path, 0o555 if path.is_dir() else 0o444)
    locked_away(archive / "secret.tif", 0)
    locked_away(archive / "closed", 0)
    out, fixed, within = tmp_path / "out", tmp_path / "fixed", tmp_path / "within"
    fixed.mkdir()
    locked_away(fixed, 0o555)
    (within / "archive" / "m1" / "s.tif").mkdir(parents=True)
    (within / "batch.json").write_text(
        json.dumps({"format": "iosfast batch", "archives": {str(archive): "archive"}})
    )
    locked_away(within / "archive" / "m1" / "s.tif", 0o555)

    first, second, third, fourth = as_an_owner(archive, out, fixed, fixed / "new", within)
    closed = f"{archive / 'closed'}: cannot be listed: Permission denied"
    assert first == {
        **{f"archive/m{number}/s.tif": ["done", ""] for number in range(3)},
        "archive/secret.tif": ["failed", f"{archive / 'secret.tif'}: Permission denied"],
        "archive/closed": ["failed", closed],
    }
    assert "Permission denied" in second
    assert "Permission denied" in third
    assert list(fixed.iterdir()) == []
    state, error = fourth.pop("archive/m1/s.tif")
    assert state == "failed"
    assert "Permission denied" in error
    assert {name: told for name, told in first.items() if name in fourth} == fourth
    assert len(fourth) == 4
