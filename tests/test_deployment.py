"""Files that start ClickPick on a cluster: what they say fits the schemas, the settings, and each other."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from backend.settings import Settings

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[1]
WEB = list(yaml.safe_load_all((ROOT / "kubernetes" / "web.yaml").read_text()))
(RAY,) = yaml.safe_load_all((ROOT / "kubernetes" / "ray.yaml").read_text())
COMPOSE = yaml.safe_load((ROOT / "compose.ray.yaml").read_text())
BASE = yaml.safe_load((ROOT / "compose.yaml").read_text())
OTHERS = re.compile(r"(LABEL_STUDIO_|AWS_)")


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = [one for one in WEB if one["kind"] == kind]
    return dict(found)


def ray_pods() -> Iterator[dict[str, Any]]:
    cluster = RAY["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield group["template"]


def settings_named(names: Iterator[str] | list[str]) -> None:
    for name in names:
        field = name.removeprefix("CLICKPICK_").lower()
        assert OTHERS.match(name) or (name.startswith("CLICKPICK_") and field in Settings.model_fields), name


@pytest.mark.parametrize("one", WEB, ids=[one["kind"] for one in WEB])
def test_every_object_fits_its_schema(one: dict[str, Any]) -> None:
    kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


def test_a_misspelt_field_would_be_seen() -> None:
    wrong = {**of_kind("Service"), "spec": {"selektor": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_the_clusters_pods_fit_their_schema() -> None:
    for template in ray_pods():
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, **template}
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


def test_the_cluster_runs_the_application_and_the_ray_of_this_release() -> None:
    pinned = re.search(r"^ray==(\S+)", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert pinned is not None
    assert RAY["spec"]["rayClusterConfig"]["rayVersion"] == pinned[1]
    (application,) = yaml.safe_load(RAY["spec"]["serveConfigV2"])["applications"]
    pytest.importorskip("ray")
    module, _, name = application["import_path"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
    assert application["name"] == importlib.import_module(module).APPLICATION


def test_kuberay_finds_in_the_image_what_its_probes_run() -> None:
    """Containers of workers have to run `wget ... | grep success`: pod.go of https://github.com/ray-project/kuberay."""
    last = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"apt-get install [^&]*\bwget\b", last)
    for page in ("kubernetes/ray.yaml", "docs/scaling.md"):
        assert "1.6 or newer" in (ROOT / page).read_text()


def test_web_pods_and_the_cluster_have_the_same_settings_and_image() -> None:
    web = of_kind("Deployment")["spec"]["template"]["spec"]["containers"][0]
    settings_named(list(of_kind("ConfigMap")["data"]))
    for template in ray_pods():
        (container,) = template["spec"]["containers"]
        assert container["envFrom"] == web["envFrom"]
        assert container["image"] == web["image"]


def test_everything_selects_the_web_pods() -> None:
    labels = of_kind("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert of_kind("Service")["spec"]["selector"] == labels
    assert of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert (
        of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"]
        == of_kind("Deployment")["metadata"]["name"]
    )
    assert f"{RAY['metadata']['name']}-head-svc:6379" in str(of_kind("Deployment")["spec"])


def test_a_pod_ends_after_its_last_click() -> None:
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    waits = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > waits + 10 + 15, "gunicorn's grace, and the engine's end"


def test_the_old_cluster_outlives_the_web_pods_that_are_its_nodes() -> None:
    """In an upgrade. The field is of KubeRay's RayServiceSpec: an integer beside rayClusterConfig."""
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    most = of_kind("HorizontalPodAutoscaler")["spec"]["maxReplicas"]
    assert RAY["spec"]["rayClusterDeletionDelaySeconds"] >= most * (pod["terminationGracePeriodSeconds"] + 45)


def test_compose_names_services_that_are_there_and_settings_that_exist() -> None:
    services = {**BASE["services"], **COMPOSE["services"]}
    for name, service in COMPOSE["services"].items():
        after = service.get("depends_on", [])
        assert set(after) <= set(services), name
        ours = service.get("image") == "clickpick"
        if ours:
            settings_named(list(service["environment"]))
            assert service["environment"]["CLICKPICK_ENGINE"] == "ray"
    assert set(COMPOSE["volumes"]) == {"postgres", "minio"}
