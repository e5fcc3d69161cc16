"""The description in docs/openapi.json is true."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from backend.access import WEBHOOK_HEADER
from backend.request_checks import MAX_REGIONS, MAX_TASKS
from backend.service import Service
from label_config import render
from label_config.limits import MAX_CHARACTERS
from tests.backend.app.bodies import body_of, click, webhook
from tests.backend.app.described import DESCRIPTION, problems, schema_of
from tests.backend.conftest import CLASSES
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit

LEGACY = {"/train", "/is_training", "/static/<path:filename>"}
"""Routes of label-studio-ml and Flask that Label Studio does not call."""
BODIES = ("/predict", "/setup", "/webhook")


def test_all_routes_are_described_and_no_others(service: Service) -> None:
    rules = service.app.url_map.iter_rules()  # type: ignore[attr-defined]
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in rules
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.rule not in LEGACY and (rule.rule, method) != ("/versions", "POST")
    }
    described = {
        (path, method)
        for path, found in DESCRIPTION["paths"].items()
        for method in found
        if method != "parameters"
    }
    assert described == served


def test_numbers_and_names_are_those_of_the_code() -> None:
    schemas = DESCRIPTION["components"]["schemas"]
    assert schemas["Predict"]["properties"]["tasks"]["maxItems"] == MAX_TASKS
    assert schemas["Context"]["properties"]["result"]["maxItems"] == MAX_REGIONS
    assert schemas["LabelConfig"]["maxLength"] == MAX_CHARACTERS
    assert DESCRIPTION["components"]["securitySchemes"]["webhookSecret"]["name"] == WEBHOOK_HEADER


@pytest.fixture
def bodies(fake: FakeLabelStudio, click_project: tuple[int, int, str]) -> dict[str, dict[str, Any]]:
    project, task, config = click_project
    return {
        "/predict": body_of(fake, project, [task], config, click(8, 30)),
        "/setup": {"project": f"{project}.1795263519", "schema": config, "hostname": "", "access_token": "x",
                   "extra_params": None},
        "/webhook": webhook(project, config, "ANNOTATION_CREATED"),
    }  # fmt: skip


@pytest.mark.parametrize("path", BODIES)
def test_what_label_studio_sends_and_gets_is_as_described(
    client: FlaskClient, bodies: dict[str, dict[str, Any]], path: str
) -> None:
    assert problems(bodies[path], schema_of(path)) == []
    answer = client.post(path, json=bodies[path])
    assert answer.status_code in (200, 201)
    assert problems(answer.json, schema_of(path, str(answer.status_code))) == []


@pytest.mark.parametrize("path", ["/health", "/", "/versions", "/versions?project=7.1"])
def test_what_is_only_read_is_as_described(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert problems(answer.json, schema_of(path.partition("?")[0], "200")) == []


@pytest.mark.parametrize("path", BODIES)
def test_what_is_required_is_asked_for_and_failures_are_as_described(
    client: FlaskClient, bodies: dict[str, dict[str, Any]], path: str
) -> None:
    reference = schema_of(path)["$ref"].rpartition("/")[2]
    for name in DESCRIPTION["components"]["schemas"][reference]["required"]:
        for wrong in ({}, {name: None}, {name: [[]]}):
            body = copy.deepcopy(bodies[path])
            del body[name]
            answer = client.post(path, json={**body, **wrong})
            assert problems({**body, **wrong}, schema_of(path))
            assert answer.status_code == 400, (name, answer.text)
            assert problems(answer.json, schema_of(path, "400")) == []


def test_what_is_over_a_limit_is_told(client: FlaskClient, bodies: dict[str, dict[str, Any]]) -> None:
    body = bodies["/predict"]
    many = {**body, "tasks": body["tasks"] * (MAX_TASKS + 1)}
    assert "10001 tasks were got; expected at most 10000" in client.post("/predict", json=many).json["error"]
    clicks = {"context": {"result": body["params"]["context"]["result"] * (MAX_REGIONS + 1)}}
    answer = client.post("/predict", json={**body, "params": clicks})
    assert "201 regions was got; expected at most 200" in answer.json["error"]
    for path, name in (("/predict", "label_config"), ("/setup", "schema")):
        large = {**bodies[path], name: "<View>" + " " * MAX_CHARACTERS + "</View>"}
        answer = client.post(path, json=large)
        assert answer.status_code == 400
        assert "expected at most 1000000" in answer.json["error"]


def test_old_routes_answer_clearly(client: FlaskClient) -> None:
    assert "/webhook" in client.post("/train", json={"annotations": []}).json["error"]
    assert client.post("/versions", json=[1]).status_code == 400
    assert client.get("/is_training?project=1").status_code == 200
    config = render("pixel", CLASSES)
    assert client.post("/versions", json={"project": "1.2", "schema": config}).status_code == 200
