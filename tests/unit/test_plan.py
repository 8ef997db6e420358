"""What may be a plan, and what a capability says of its inputs."""

import pytest

from audiomill.catalogue.capabilities import CAPABILITIES
from audiomill.catalogue.plan import Plan, Step
from audiomill.catalogue.stages import STAGES
from audiomill.catalogue.transcribe import TranscribeParameters


def step(name: str, *reads: str, optional: bool = False, delivers: bool = False) -> Step:
    return Step(name, "transcribe", {}, reads or ("input:source",), optional=optional, delivers=delivers)


def test_the_last_step_delivers_unless_some_step_says_so() -> None:
    assert [each.delivers for each in Plan((step("a"), step("b", "a/x"))).steps] == [False, True]
    assert [each.delivers for each in Plan((step("a", delivers=True), step("b", "a/x"))).steps] == [True, False]


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ((), "at least one"),
        ((step("a"), step("a")), "twice"),
        ((step("A b"),), "no name"),
        ((step("a", "b/x"), step("b")), "nothing before it makes"),
        ((step("a", "a/x"),), "nothing before it makes"),
        ((step("a", "input:source", "input:source"),), "twice"),
        ((step("a"), step("b", "a")), "nothing before it makes"),
        ((step("a"), step("b", optional=True)), "may be left out"),
        ((Step("a", "transcribe", weight=0.0),), "weighs nothing"),
    ],
)
def test_what_is_no_plan(steps: tuple[Step, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Plan(steps)


def test_capabilities_of_one_step_have_their_parameters_for_options() -> None:
    plan = CAPABILITIES["transcribe"].planned(TranscribeParameters(language="de", task="translate"), {"source": 1})
    (only,) = plan.steps
    assert (only.name, only.stage, only.reads, only.delivers) == ("transcribe", "transcribe", ("input:source",), True)
    assert only.options == TranscribeParameters(language="de", task="translate").model_dump(mode="json")
    assert (only.language, only.features) == ("de", {"translation"})


def test_capabilities_name_stages_that_there_are() -> None:
    for capability in CAPABILITIES.values():
        assert set(capability.stages) <= set(STAGES)
