"""schemathesis over the API's own document, with a key: no answer above 499, none that the document does not describe.

A bounded, seeded run over real HTTP. For longer, by hand: `schemathesis run http://127.0.0.1:8080/openapi.json
--header "Authorization: Bearer am_…"`.
"""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case
from schemathesis.checks import load_all_checks
from schemathesis.schemas import BaseSchema

EXAMPLES = 12
"""Of each operation and each kind."""

load_all_checks()
[BEYOND_A_SCHEMA] = schemathesis.checks.CHECKS.get_by_names(["positive_data_acceptance"])
"""That whatever the schema allows is taken: no schema knows the recipes, the uploads, or a cursor of ours."""

OPERATIONS = [
    "GET /healthz",
    "GET /readyz",
    "GET /v1/engines",
    "GET /v1/jobs",
    "POST /v1/jobs",
    "DELETE /v1/jobs/{job_id}",
    "GET /v1/jobs/{job_id}",
    "GET /v1/jobs/{job_id}/events",
    "GET /v1/jobs/{job_id}/lines",
    "PATCH /v1/jobs/{job_id}/lines",
    "GET /v1/jobs/{job_id}/outputs/{name}",
    "DELETE /v1/jobs/{job_id}/revisions/{revision}",
    "GET /v1/objects/{token}",
    "HEAD /v1/objects/{token}",
    "OPTIONS /v1/objects/{token}",
    "PUT /v1/objects/{token}",
    "GET /v1/receipt-keys",
    "GET /v1/recipes",
    "POST /v1/uploads",
]


@pytest.fixture(scope="module")
def document(server: str) -> BaseSchema:
    """The document of the running server. What is no order may also be refused for its size, before it is read."""
    found = schemathesis.openapi.from_url(f"{server}/openapi.json")
    refused = found.config.checks.negative_data_rejection
    refused.expected_statuses = [*refused.expected_statuses, "413"]
    return found


@pytest.fixture(scope="module")
def headers(client: httpx.Client) -> dict[str, str]:
    """A key of a workspace that has something to list."""
    client.post("/v1/jobs", json={"recipe": "synthesize", "inputs": [{"text": "There is something to list."}]})
    return {"Authorization": client.headers["Authorization"]}


def test_all_operations_are_here(document: BaseSchema) -> None:
    assert sorted(found.ok().label for found in document.get_all_operations()) == sorted(OPERATIONS)


@pytest.mark.parametrize(
    ("label", "mode"),
    [(label, schemathesis.GenerationMode.POSITIVE) for label in OPERATIONS]
    # Where any text is a good one, nothing can be sent that is not.
    + [
        (label, schemathesis.GenerationMode.NEGATIVE)
        for label in OPERATIONS
        if label.endswith(("/jobs", "/uploads", "/lines"))
    ],
)
def test_answers_are_as_the_document_says(
    document: BaseSchema, headers: dict[str, str], label: str, mode: schemathesis.GenerationMode
) -> None:
    method, _, path = label.partition(" ")

    @seed(5)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=document[path][method].as_strategy(generation_mode=mode))
    def run(case: Case) -> None:
        case.call_and_validate(headers=headers, excluded_checks=[BEYOND_A_SCHEMA])

    run()
