import json
import shutil
import subprocess
from datetime import UTC, datetime

import jax
import jaxlib

from sparsejax.runs import current_environment, environment, git_revision, strict_json


def test_it_names_versions_device_precision_and_time():
    found = current_environment()
    assert found["versions"]["jax"] == jax.__version__
    assert found["versions"]["jaxlib"] == jaxlib.__version__
    assert found["versions"]["diffrax"]
    assert found["platform"] == jax.default_backend()
    assert found["device_count"] == found["local_device_count"] == len(jax.devices())
    assert found["process_count"] == 1
    assert found["x64"] is True
    assert found["dtype"] == "float64"
    age = datetime.now(UTC) - datetime.fromisoformat(found["time"])
    assert 0 <= age.total_seconds() < 60
    assert json.loads(strict_json.dumps(found)) == found


def test_the_revision_is_the_package_s_own_and_says_when_files_differ(tmp_path, monkeypatch):
    if shutil.which("git") is None:
        assert git_revision() is None
        return

    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", str(tmp_path), *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    source = tmp_path / "package" / "runs" / "environment.py"
    source.parent.mkdir(parents=True)
    for file in (source, source.parents[1] / "__init__.py", tmp_path / "other"):
        file.touch()
    monkeypatch.setattr(environment, "__file__", str(source))
    git("init", "--quiet")
    git("add", "other")
    git("commit", "--quiet", "-m", "a repository that holds the package without tracking it")
    assert git_revision() is None
    git("add", ".")
    git("commit", "--quiet", "-m", "one that tracks it")
    assert git_revision() == git("rev-parse", "HEAD")
    source.write_text("changed = True\n")
    assert git_revision() == git("rev-parse", "HEAD") + "-modified"
