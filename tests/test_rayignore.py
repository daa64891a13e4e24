"""What `ray job submit --working-dir .` sends to a cluster."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from ray._private.runtime_env.packaging import create_package

ROOT = Path(__file__).resolve().parents[1]


def test_74_only_the_package_and_its_jobs_are_sent_whatever_lies_beside_them(tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    for name in ("srrd_ray", "jobs", "storage_schemas"):
        shutil.copytree(ROOT / name, folder / name)
    for name in (".rayignore", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("cohort/sub-1/ct/a.dcm", "keys/secret.txt", ".env", "run.yaml", "jobs/__pycache__/a.pyc"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("of a patient")
    create_package(str(folder), tmp_path / "sent.zip", include_gitignore=True)
    sent = {
        Path(name) for name in zipfile.ZipFile(tmp_path / "sent.zip").namelist() if not name.endswith("/")
    }
    assert {path.parts[0] for path in sent} == {"srrd_ray", "jobs", "storage_schemas", "pyproject.toml"}
    assert not any("__pycache__" in path.parts for path in sent)
    assert {Path("jobs/full_pipeline.py"), Path("srrd_ray/stages/ingest.py")} <= sent
