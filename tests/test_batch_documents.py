"""What the pages on batches say is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from some_archives import archive_of, write_tiff

import iosfast

DOCS = Path(__file__).parents[1] / "docs"


def test_the_job_script_runs_with_a_scheduler_and_workers_of_its_own(tmp_path):
    archive = archive_of(tmp_path / "archive", 2)
    programs = tmp_path / "bin"
    programs.mkdir()
    python = sys.executable
    commands = {
        "srun": 'exec "$@"',
        "iosfast": f'exec {python} -m iosfast.cli "$@"',
        "dask": f'exec {python} -m dask "$@"',
    }
    for name, text in commands.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    done = subprocess.run(
        [
            "bash", str(DOCS / "batch-slurm.sh"), str(archive), "--out", str(tmp_path / "out"),
            "--frame-rate-hz", "5", "--no-pictures",
        ],
        env={
            **os.environ, "PATH": f"{programs}:{os.environ['PATH']}",
            "SLURM_SUBMIT_DIR": str(tmp_path), "WORKERS_PER_NODE": "1",
        },
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 recordings: 2 done" in done.stdout
    assert iosfast.verify(tmp_path / "out") == []
    assert not list(tmp_path.glob("iosfast-dask-*"))


@pytest.mark.filterwarnings("ignore::iosfast.IosfastWarning")
def test_the_examples_in_python(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        write_tiff(tmp_path / "archive" / f"s{number}.tif", number, count=600)
    text = (DOCS / "batch-embedding.md").read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- run -->\n```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "batch-embedding.md", "exec"), {})
    told = capsys.readouterr().out
    assert "'maps': 1" in told
    assert "(600, 24, 32)" in told
