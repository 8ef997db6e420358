"""What is ordered, before anything is asked: the hash of an order, and what it costs where inputs share parameters."""

import hashlib
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from audiomill.jobs import orders
from audiomill.jobs.orders import InputObject, NewJob, refuse_malformed, sha256_of_order
from audiomill.settings import Settings

PARAMETERS = st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=5), st.integers(0, 9), st.booleans()))


def new(parameters: dict[str, Any], number: int) -> NewJob:
    return NewJob("transcribe", parameters, InputObject(f"uploads/é{number}", f"v{number}", 1, "a.wav"))


@given(st.lists(PARAMETERS, max_size=4))
def test_an_order_is_hashed_as_the_canonical_json_of_all_its_jobs(given_parameters: list[dict[str, Any]]) -> None:
    """What it was before parameters were written once: keys that were used stay those of their orders."""
    jobs = [new(parameters, number) for number, parameters in enumerate(given_parameters)]
    jobs += jobs[:1]  # one object of parameters for two inputs
    whole = [[each.recipe, each.parameters, each.input.key, each.input.version] for each in jobs]
    assert sha256_of_order(jobs) == hashlib.sha256(rfc8785.dumps(whole)).hexdigest()


def test_parameters_that_inputs_share_are_read_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = {"hotwords": ["word"] * 50}
    jobs = [new(shared, number) for number in range(200)]
    written: list[object] = []
    looked_at: list[object] = []
    dumps, storable = rfc8785.dumps, orders._is_storable

    def writes(value: Any) -> bytes:
        written.append(value)
        return dumps(value)

    def looks(value: object) -> bool:
        looked_at.append(value)
        return storable(value)

    monkeypatch.setattr(orders.rfc8785, "dumps", writes)
    monkeypatch.setattr(orders, "_is_storable", looks)
    sha256_of_order(jobs)
    refuse_malformed("key", jobs, settings)
    assert sum(each is shared for each in written) == 1
    assert sum(each is shared for each in looked_at) == 1
