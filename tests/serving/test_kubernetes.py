"""The Kubernetes manifests: valid by Kubernetes' own schema, and agreed with each other and the server."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import yaml

from komrc.options import read_environment
from komrc.serving.options import ServeOptions

DEPLOY = Path(__file__).parents[2] / "deploy"
FOLDER = DEPLOY / "kubernetes"
OLDEST = "1.25"


@pytest.fixture(scope="module")
def manifests():
    """Kind -> object, for each that the kustomization names."""
    names = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert set(names) == {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    loaded = [yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")) for name in names]
    return {one["kind"]: one for one in loaded}


@pytest.fixture(scope="module")
def pod(manifests):
    return manifests["Deployment"]["spec"]["template"]


@pytest.fixture(scope="module")
def container(pod):
    (one,) = pod["spec"]["containers"]
    return one


def test_kubernetes_schema_knows_every_field(manifests):
    library = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for version in (OLDEST, library.latest_version()):
        for one in manifests.values():
            library.validate(one, version, strict=True)
    wrong = copy.deepcopy(manifests["Deployment"])
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(library.ValidationError):
        library.validate(wrong, OLDEST, strict=True)


def test_everything_means_the_same_pods(manifests, pod, container):
    labels = pod["metadata"]["labels"].items()
    spread = pod["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]
    monitor = yaml.safe_load((DEPLOY / "prometheus/pod-monitor.yaml").read_text(encoding="utf-8"))
    for selector in (
        manifests["Deployment"]["spec"]["selector"]["matchLabels"],
        manifests["Service"]["spec"]["selector"],
        manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        monitor["spec"]["selector"]["matchLabels"],
        spread,
    ):
        assert selector and selector.items() <= labels
    target = manifests["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    deployment = manifests["Deployment"]
    assert target == {
        "apiVersion": deployment["apiVersion"], "kind": "Deployment", "name": deployment["metadata"]["name"],
    }  # fmt: skip
    assert "replicas" not in deployment["spec"]  # the autoscaler's
    (port,) = container["ports"]
    assert port["containerPort"] == ServeOptions().port
    for user in (
        manifests["Service"]["spec"]["ports"][0]["targetPort"],
        manifests["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"],
        monitor["spec"]["podMetricsEndpoints"][0]["port"],
        container["readinessProbe"]["httpGet"]["port"],
        container["livenessProbe"]["httpGet"]["port"],
    ):
        assert user == port["name"]


def test_probes_and_metrics_exist_and_probes_need_no_key(manifests, container, client):
    web = client(api_key="right")
    for probe in ("readinessProbe", "livenessProbe"):
        assert web.get(container[probe]["httpGet"]["path"]).status_code == 200
    (metric,) = manifests["HorizontalPodAutoscaler"]["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    monitor = yaml.safe_load((DEPLOY / "prometheus/pod-monitor.yaml").read_text(encoding="utf-8"))
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert web.get(endpoint["path"]).status_code == 401
    figures = web.get(endpoint["path"], headers={"authorization": "Bearer right"}).text
    assert f"\n{name} 0.0" in figures
    (rule,) = yaml.safe_load((DEPLOY / "prometheus/adapter-values.yaml").read_text())["rules"]["custom"]
    assert rule["seriesQuery"].startswith(name + "{") and rule["name"]["as"] == name


def test_the_environment_is_the_servers(pod, container):
    """Names that the server knows; the key from a Secret that must be there, which Prometheus reads too."""
    assert pod["spec"]["enableServiceLinks"] is False  # KOMRC_PORT would be an address of the Service
    plain = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    assert len(read_environment(ServeOptions, plain)) == len(plain)
    (key,) = [one for one in container["env"] if one["name"] == "KOMRC_API_KEY"]
    secret = key["valueFrom"]["secretKeyRef"]
    assert not secret.get("optional")
    monitor = yaml.safe_load((DEPLOY / "prometheus/pod-monitor.yaml").read_text(encoding="utf-8"))
    assert monitor["spec"]["podMetricsEndpoints"][0]["authorization"]["credentials"] == secret


def test_accepted_requests_have_time_to_finish(pod, container):
    plain = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    shutdown = ServeOptions(**read_environment(ServeOptions, plain)).shutdown_timeout
    before = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
    probe = container["readinessProbe"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > before + shutdown
    assert before >= probe["periodSeconds"] * probe["failureThreshold"]


def test_pods_may_do_nothing_but_serve(pod, container):
    spec, rights = pod["spec"], container["securityContext"]
    user = re.search(r"^USER (\d+):(\d+)", (DEPLOY.parent / "Dockerfile").read_text(), re.MULTILINE)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"]) == (
        int(user[1]),
        int(user[2]),
    )
    assert spec["automountServiceAccountToken"] is False
    assert rights["readOnlyRootFilesystem"] is True and rights["allowPrivilegeEscalation"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
