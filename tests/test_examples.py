"""The files for Kubernetes and the container agree with the repository and with what Ray's autoscaler reads out of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeAlias, cast

import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.util import validate_config

from tests.test_cluster_yaml import AWS, GCP, KNEE, Launched, launched

ROOT = Path(__file__).resolve().parents[1]
CLUSTER, JOB = (ROOT / "examples" / "kuberay" / name for name in ("raycluster.yaml", "rayjob.yaml"))
CONTAINER = ROOT / "examples" / "container" / "Containerfile"

Tree: TypeAlias = dict[str, object]

kubernetes = pytest.mark.parametrize("path", [CLUSTER, JOB], ids=["cluster", "job"])


def at(tree: object, *keys: str | int) -> object:
    for key in keys:
        tree = cast("dict[str | int, object]", tree)[key]
    return tree


def resource(path: Path) -> Tree:
    """The custom resource of a file, the last of its documents."""
    return cast("list[Tree]", list(yaml.safe_load_all(path.read_text(encoding="utf-8"))))[-1]


def cluster(path: Path) -> Tree:
    spec = resource(path)["spec"]
    return cast("Tree", at(spec, "rayClusterSpec") if path == JOB else spec)


def groups(path: Path) -> dict[str, Tree]:
    return {str(group["groupName"]): group for group in cast("list[Tree]", cluster(path)["workerGroupSpecs"])}


def containers(path: Path) -> list[object]:
    pods = [cluster(path)["headGroupSpec"], *groups(path).values()]
    return [at(pod, "template", "spec", "containers", 0) for pod in pods]


def version_of(package: str) -> str:
    found = re.search(
        rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert found
    return found[1]


@kubernetes
def test_the_version_of_ray_is_the_tested_one(path: Path) -> None:
    assert cluster(path)["rayVersion"] == version_of("ray")


@kubernetes
def test_every_image_is_that_of_the_other_clusters(path: Path) -> None:
    image = at(yaml.safe_load(AWS.read_text(encoding="utf-8")), "docker", "image")
    assert at(yaml.safe_load(GCP.read_text(encoding="utf-8")), "docker", "image") == image
    assert {at(found, "image") for found in containers(path)} == {image}
    assert f"-t {image} " in CONTAINER.read_text(encoding="utf-8")


@kubernetes
def test_it_asks_for_the_token_of_a_secret_and_holds_none(path: Path) -> None:
    assert cluster(path)["authOptions"] == {"mode": "token", "secretName": "srrd-ray-token"}
    assert {at(found, "envFrom", 0, "secretRef", "name") for found in containers(path)} == {"srrd-ray-store"}
    assert all("env" not in cast("Tree", found) for found in containers(path))


@kubernetes
def test_the_head_does_no_work_and_is_not_published(path: Path) -> None:
    assert at(cluster(path), "headGroupSpec", "rayStartParams", "num-cpus") == "0"
    assert at(cluster(path), "headGroupSpec", "serviceType") == "ClusterIP"


@kubernetes
def test_it_grows_with_the_work_from_nothing(path: Path) -> None:
    assert cluster(path)["enableInTreeAutoscaling"] is True
    assert at(cluster(path), "autoscalerOptions", "version") == "v2"
    assert {group["minReplicas"] for group in groups(path).values()} == {0}


@kubernetes
def test_every_pod_has_what_it_asks_for_and_no_rights_beyond(path: Path) -> None:
    for found in containers(path):
        assert at(found, "resources", "requests") == at(found, "resources", "limits")
        assert at(found, "securityContext", "allowPrivilegeEscalation") is False
        assert at(found, "volumeMounts", 0, "mountPath") == "/dev/shm"


@kubernetes
def test_spot_nodes_are_asked_for_tolerated_and_have_a_fallback(path: Path) -> None:
    spot, demand = (at(groups(path)[name], "template", "spec") for name in ("cpu-spot", "cpu-on-demand"))
    assert at(spot, "nodeSelector") == {"karpenter.sh/capacity-type": "spot"}
    assert at(spot, "tolerations", 0, "value") == "spot"
    assert at(demand, "nodeSelector") == {"karpenter.sh/capacity-type": "on-demand"}


@kubernetes
def test_rays_autoscaler_reads_it_as_a_cluster_that_prefers_spot_nodes(path: Path, tmp_path: Path) -> None:
    whole = {"metadata": {"name": "srrd-ray", "namespace": "default"}, "spec": cluster(path)}
    read = cast("Tree", _derive_autoscaling_config_from_ray_cr(whole))
    validate_config(read)
    (tmp_path / "read.yaml").write_text(yaml.safe_dump(read), encoding="utf-8")
    assert launched(tmp_path / "read.yaml", KNEE, 40) == Launched(nodes={"cpu-spot": 3}, unmet=0)
    absent = {"cpu-spot": 0.0}
    assert launched(tmp_path / "read.yaml", KNEE, 40, absent) == Launched(nodes={"cpu-on-demand": 3}, unmet=0)
    assert launched(tmp_path / "read.yaml", {"CPU": 1.0, "GPU": 1.0}, 2) == Launched(
        nodes={"gpu": 2}, unmet=0
    )


def test_both_files_for_kubernetes_hold_the_same_cluster() -> None:
    assert cluster(CLUSTER) == cluster(JOB)


def test_the_job_runs_a_job_of_the_repository_that_the_image_holds() -> None:
    entry = str(at(resource(JOB), "spec", "entrypoint"))
    folder = re.search(r"^WORKDIR (\S+)$", CONTAINER.read_text(encoding="utf-8"), re.MULTILINE)
    assert folder
    script = re.search(rf"{folder[1]}/(\S+\.py)", entry)
    assert script
    assert (ROOT / script[1]).is_file()
    assert (ROOT / script[1]).parent.name in copied()


def copied() -> list[str]:
    lines = re.findall(r"^COPY (.+) \S+$", CONTAINER.read_text(encoding="utf-8"), re.MULTILINE)
    return [source for line in lines for source in line.split()]


def test_all_that_the_image_copies_is_in_the_repository_and_is_all_that_an_installation_needs() -> None:
    assert [source for source in copied() if not (ROOT / source).exists()] == []
    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "srrd_ray",
        "storage_schemas",
        "constraints.txt",
    } <= set(copied())


def test_the_image_is_installed_with_the_tested_versions_as_make_installs_them() -> None:
    how = "python -m pip install --constraint constraints.txt"
    assert how in (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = re.findall(r"python -m pip install .*", CONTAINER.read_text(encoding="utf-8"))
    assert len(installs) == 2
    assert all(how in line.replace("--no-cache-dir ", "") for line in installs)


def test_the_image_runs_as_an_ordinary_user_whom_the_pods_name() -> None:
    text = CONTAINER.read_text(encoding="utf-8")
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE) == ["ray"]
    user = re.search(r"--uid (\d+)", text)
    assert user
    assert int(user[1]) == at(
        cluster(CLUSTER), "headGroupSpec", "template", "spec", "securityContext", "runAsUser"
    )
    assert text.index("USER ray") > text.rindex("pip install")


def test_the_default_command_of_the_image_exists() -> None:
    command = re.search(r'^CMD \["(\w+)"', CONTAINER.read_text(encoding="utf-8"), re.MULTILINE)
    assert command
    assert f'{command[1]} = "srrd_ray.cli:main"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
