"""What is said of an order's parameters that are not right: which one, what is wrong, what it should be."""

from typing import Any

import pytest

from audiomill.catalogue.capabilities import validated
from audiomill.errors import BadRequest
from tests.unit.test_audio_broken import is_sentence

DUB = {"target_language": "es"}


@pytest.mark.parametrize(
    ("capability", "given", "said"),
    [
        ("dub", {}, "dub needs the parameter 'target_language': language of the dub"),
        ("dub", DUB | {"colour": "red"}, "dub has no parameter 'colour'. It has: engine, "),
        ("dub", DUB | {"engines": {"sing": "x"}}, "dub has no parameter 'engines.sing'. It has: separate, "),
        ("dub", {"target_language": "e!"}, "it is not written as it should be. It is: language of the dub (BCP"),
        ("dub", DUB | {"source_language": "!!"}, "'source_language' of dub is not right: it is not written"),
        ("dub", DUB | {"source_language": []}, "'source_language' of dub is not right: it should be a text."),
        ("dub", DUB | {"source_language": {}}, "'source_language' of dub is not right: it should be a text."),
        ("dub", DUB | {"voices": {"S1": [[]]}}, "'voices.S1' of dub is not right: it should be a text."),
        ("dub", DUB | {"glossary": {"": {}}}, "'glossary' of dub is not right: it should have at least 1 character."),
        ("dub", DUB | {"glossary": {"": "x"}}, "'glossary' of dub is not right: it should have at least 1 character."),
        ("dub", DUB | {"formats": "mp3"}, "'formats' of dub is not right: it should be a list."),
        ("dub", DUB | {"formats": ["ogg"]}, "'formats.0' of dub is not right: it should be 'wav', 'flac' or 'mp3'."),
        ("dub", DUB | {"formats": ["mp3", "mp3"]}, "'formats' of dub is not right: 'mp3' stands in it twice."),
        ("dub", DUB | {"voices": {"S1": 3}}, "'voices.S1' of dub is not right: it should be a text."),
        ("dub", DUB | {"rate_wpm": "fast"}, "'rate_wpm' of dub is not right: it should be a whole number."),
        ("dub", DUB | {"rate_wpm": 10}, "'rate_wpm' of dub is not right: it should be greater than or equal to 80."),
        ("dub", DUB | {"transcript": "so so"}, "'transcript' of dub is not right: it should be true or false."),
        ("dub", DUB | {"source_language": "es"}, "These parameters do not go together in dub: the source and the dub"),
    ],
)
def test_what_is_wrong_is_said_in_words_of_the_order(capability: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        validated(capability, given)
    assert said in refused.value.message
    assert refused.value.code == "bad_parameter"
    assert is_sentence(refused.value.message), refused.value.message
    assert not any(word in refused.value.message for word in ("Field", "Input", "Extra", "tuple", "string", "^"))
