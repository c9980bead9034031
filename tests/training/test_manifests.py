"""What docs/scaling.md gives for Kubernetes and Slurm: right by schema, and every worker gets its own TF_CONFIG."""

import copy
import os
import pathlib
import re
import subprocess

import pytest

from mtl_tf.training.cluster import Cluster, cluster
from tests.helpers import ROOT

MANIFEST = ROOT / "docs" / "kubernetes" / "train.yaml"
PAGE = ROOT / "docs" / "scaling.md"
VERSION = "1.37"


@pytest.fixture(scope="module")
def validator():
    return pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")


@pytest.fixture(scope="module")
def parts() -> dict[str, dict]:
    """Kind -> object of the manifest."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return {part["kind"]: part for part in yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8"))}


@pytest.fixture
def programs(tmp_path, monkeypatch) -> pathlib.Path:
    """A folder that comes first where programs are looked for; its python shows what the training would get."""
    write_program(tmp_path / "python", 'printf "%s\\n" "$TF_CONFIG"; printf "%s\\n" "$*" >&2')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def write_program(path, script):
    path.write_text(f"#!/bin/bash\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def run(command, **environment):
    found = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return found.stdout.splitlines(), found.stderr


def names(config: str) -> list[str]:
    return re.findall(r'"([^":]+:12345)"', config)


def read(config: str, monkeypatch) -> Cluster:
    monkeypatch.setenv("TF_CONFIG", config)
    return cluster()


# === Kubernetes ===


def test_every_object_is_right_by_the_schema(parts, validator):
    assert list(parts) == ["Service", "NetworkPolicy", "PersistentVolumeClaim", "Job"]
    for part in parts.values():
        assert validator.validate(part, VERSION, strict=True) == VERSION


@pytest.mark.parametrize(
    ("path", "wrong"), [(("parallelism",), "four"), (("completionMode",), 3), (("template", "spec", "subdomains"), "a")]
)
def test_the_schema_finds_mistakes(parts, validator, path, wrong):
    job = copy.deepcopy(parts["Job"])
    place = job["spec"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = wrong
    with pytest.raises(validator.ValidationError):
        validator.validate(job, VERSION, strict=True)


def test_the_parts_name_one_another(parts):
    service, claim, job = parts["Service"], parts["PersistentVolumeClaim"], parts["Job"]["spec"]
    pod, name = job["template"]["spec"], parts["Job"]["metadata"]["name"]
    (container,) = pod["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert job["completionMode"] == "Indexed" and job["completions"] == job["parallelism"]
    assert environment == {"WORKERS": str(job["completions"]), "JOB": name}
    assert pod["subdomain"] == service["metadata"]["name"] == name
    label = {"batch.kubernetes.io/job-name": name}
    policy = parts["NetworkPolicy"]["spec"]
    assert service["spec"]["selector"] == policy["podSelector"]["matchLabels"] == label
    assert policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"] == label
    assert service["spec"]["clusterIP"] == "None"
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    rules = [rule for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    codes = {rule["action"]: rule["onExitCodes"] for rule in rules}
    expected = {"containerName": container["name"], "operator": "In"}
    assert codes == {"Ignore": expected | {"values": [4]}, "FailJob": expected | {"values": [3]}}
    # A pod failure policy is for pods that are not restarted in place.
    assert pod["restartPolicy"] == "Never" and job["podReplacementPolicy"] == "Failed"


def test_each_pod_is_a_worker_of_its_own(parts, programs, monkeypatch):
    (container,) = parts["Job"]["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    for index in range(4):
        command = [*container["command"], *container["args"]]
        (config,), given = run(command, JOB_COMPLETION_INDEX=str(index), **environment)
        assert read(config, monkeypatch) == Cluster(4, index)
        assert names(config) == [f"mtl-train-{worker}.mtl-train:12345" for worker in range(4)]
        assert given.startswith(
            "main.py train --flagfile=configs/miniscapes_joint.flags --train.batch_size=256 --optim"
        )
    assert (ROOT / "configs" / "miniscapes_joint.flags").is_file()


# === Slurm ===


@pytest.mark.parametrize(
    ("ends", "status", "again"),
    [("0 0 0", 0, False), ("4 4 4", 4, True), ("4 2 4", 12, False), ("3 3 3", 13, False), ("137 4 4", 147, False)],
)
def test_each_node_is_a_worker_of_its_own_and_the_job_starts_again_where_it_may(
    programs, monkeypatch, tmp_path, ends, status, again
):
    page = PAGE.read_text(encoding="utf-8")
    script = re.search(r"## Slurm\n+```bash\n(.*?)```", page, re.DOTALL)[1]
    (tmp_path / "job.sh").write_text(script, encoding="utf-8")
    write_program(programs / "python", 'echo "$TF_CONFIG"; echo "$*" >&2; set -- $ENDS; exit ${@:SLURM_NODEID + 1:1}')
    hosts = 'if [ "$*" = "show hostnames node[1-3]" ]; then printf "node%s\\n" 1 2 3; else echo "scontrol $*" >&2; fi'
    write_program(programs / "scontrol", hosts)
    # As Slurm's, it ends with the highest status of a task.
    each = 'export SLURM_NODEID; "$@"; last=$?; [ $last -le $most ] || most=$last'
    write_program(programs / "srun", f"shift; most=0; for SLURM_NODEID in 0 1 2; do {each}; done; exit $most")
    told = dict(SLURM_JOB_NODELIST="node[1-3]", SLURM_JOB_ID="77", SLURM_CPUS_PER_TASK="8", ENDS=ends)
    found = subprocess.run(["bash", "-u", tmp_path / "job.sh"], env=os.environ | told, capture_output=True, text=True)
    configs, given = found.stdout.splitlines(), found.stderr
    assert [read(config, monkeypatch) for config in configs] == [Cluster(3, index) for index in range(3)]
    assert names(configs[0]) == ["node1:12345", "node2:12345", "node3:12345"]
    assert given.count("main.py train --flagfile=configs/miniscapes_joint.flags") == 3
    assert found.returncode == status and ("scontrol requeue 77" in given) == again
