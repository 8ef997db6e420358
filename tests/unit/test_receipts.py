"""Receipts: what is signed is verified, and nothing that was changed is."""

import base64
import hashlib
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from audiomill.errors import BadInput, ConfigurationError
from audiomill.receipts import (
    CheckPart,
    EnginePart,
    InputPart,
    OutputPart,
    ReceiptBody,
    SigningKey,
    public_keys,
    sign,
    signing_key,
    verify,
)
from audiomill.settings import Settings

OUTPUT = b"1\n00:00:00,000 --> 00:00:01,000\nHello\n"


def new_key() -> SigningKey:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return SigningKey.from_pem(pem, "a test's key")


def body(output: bytes = OUTPUT, **changes: object) -> ReceiptBody:
    fields: dict[str, object] = {
        "job_id": "01J",
        "output": OutputPart(
            name="t.srt",
            sha256=hashlib.sha256(output).hexdigest(),
            size_bytes=len(output),
            media_type="application/x-subrip",
        ),
        "input": InputPart(sha256="b" * 64, size_bytes=3, kind="audio", seconds=1.5),
        "stage": "transcribe",
        "engine": EnginePart(name="pocketsphinx", version="5.1"),
        "parameters": {"beam_size": 5, "temperatures": [0.0, 0.2], "prompt": "ü 😀"},
        "code_version": "0.1.0",
        "audio_seconds": 1.5,
        "processing_seconds": 0.25,
        "made_at": datetime(2026, 11, 21, 3, 0, 0, 123456, tzinfo=UTC),
        "checks": (CheckPart(name="speech", passed=True, value=0.9, limit=0.1),),
    }
    return ReceiptBody(**(fields | changes))


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return new_key()


def refused(receipt: bytes, output: bytes | Path, keys: dict[str, str]) -> str:
    with pytest.raises(BadInput) as caught:
        verify(receipt, output, keys)
    assert caught.value.message.endswith(".")
    return caught.value.code


def resigned(document: dict[str, object]) -> bytes:
    return rfc8785.dumps(document)


def test_what_is_signed_is_verified(key: SigningKey, tmp_path: Path) -> None:
    receipt = sign(body(), key)
    (tmp_path / "t.srt").write_bytes(OUTPUT)
    for output in (OUTPUT, tmp_path / "t.srt"):
        verified = verify(receipt, output, {key.key_id: key.public_pem})
        assert verified.key_id == key.key_id
        assert verified.receipt.engine.name == "pocketsphinx"
    document = json.loads(receipt)
    assert document.keys() == {"receipt", "key_id", "algorithm", "signature"}
    assert document["receipt"]["schema"] == "audiomill.receipt/2"
    assert document["receipt"]["made_at"] == "2026-11-21T03:00:00.123Z"
    assert sign(verified.receipt, key) == receipt, "what was read signs to the same bytes"


def test_a_receipt_of_the_first_form_still_verifies(key: SigningKey) -> None:
    """As earlier releases wrote it: it names no steps."""
    said = body().model_dump(mode="json") | {"schema": "audiomill.receipt/1"}
    for name in ("steps", "left_out"):
        del said[name]
    signature = base64.b64encode(key.private.sign(rfc8785.dumps(said))).decode()
    old = rfc8785.dumps({"algorithm": "Ed25519", "key_id": key.key_id, "receipt": said, "signature": signature})
    verified = verify(old, OUTPUT, {key.key_id: key.public_pem}).receipt
    assert (verified.schema_, verified.steps) == ("audiomill.receipt/1", ())


def test_a_receipt_of_before_still_holds(key: SigningKey) -> None:
    """Without a seed, with srt's other media type and two checks of one name, as the first ones were written."""
    twice = tuple(CheckPart(name="repeating_transcript", passed=True, value=0.0, limit=limit) for limit in (0.5, 2.4))
    old = sign(body(seed=None, checks=twice), key)
    assert verify(old, OUTPUT, {key.key_id: key.public_pem}).receipt.checks == twice


def test_every_changed_bit_is_refused(key: SigningKey) -> None:
    receipt = sign(body(), key)
    keys = {key.key_id: key.public_pem}
    codes = set()
    for at in range(len(receipt)):
        for bit in range(8):
            changed = bytearray(receipt)
            changed[at] ^= 1 << bit
            codes.add(refused(bytes(changed), OUTPUT, keys))
    assert codes == {"receipt_malformed", "unknown_key", "bad_signature"}


def test_another_spelling_of_the_same_receipt_is_refused(key: SigningKey) -> None:
    receipt = sign(body(), key)
    document = json.loads(receipt)
    keys = {key.key_id: key.public_pem}
    signature = document["signature"]
    last = "BCDEFGHIJKLMNOP"["AQgw".index(signature[-3])] if signature[-3] in "AQgw" else "A"
    for other in (
        json.dumps(document).encode(),
        receipt + b"\n",
        b" " + receipt,
        b"\xef\xbb\xbf" + receipt,
        receipt.replace(b"1.5", b"1.50", 1),
        receipt.replace(b'{"algorithm":"Ed25519",', b'{"algorithm":"Ed25519","algorithm":"Ed25519",'),
        receipt.replace("ü".encode(), b"\\u00fc"),
        resigned(document | {"signature": signature[:-3] + last + "=="}),
        resigned(document | {"signature": signature.rstrip("=")}),
        resigned(document | {"public_key": key.public_pem}),
        resigned(document | {"algorithm": "none"}),
        receipt[:-1],
        b"",
        b"[]",
        b"1e999",
        b"NaN",
        b"[" * 100_000,
        b" " * 2_000_000,
        b'"\\ud800"',
    ):
        assert refused(other, OUTPUT, keys) == "receipt_malformed", other[:80]


def test_a_key_that_the_receipt_brings_is_never_trusted(key: SigningKey) -> None:
    forger = new_key()
    forged = sign(body(), forger)
    assert refused(forged, OUTPUT, {key.key_id: key.public_pem}) == "unknown_key"
    # Under our key's name, and with a list of keys whose names were mixed up.
    document = json.loads(forged)
    assert refused(resigned(document | {"key_id": key.key_id}), OUTPUT, {key.key_id: key.public_pem}) == "bad_signature"
    assert (
        refused(resigned(document | {"key_id": key.key_id}), OUTPUT, {key.key_id: forger.public_pem}) == "unknown_key"
    )
    assert refused(forged, OUTPUT, {}) == "unknown_key"
    assert refused(forged, OUTPUT, {forger.key_id: "not a key"}) == "unknown_key"
    assert refused(resigned(document | {"key_id": ["x"]}), OUTPUT, {key.key_id: key.public_pem}) == "unknown_key"
    assert refused(resigned(document | {"signature": 7}), OUTPUT, {forger.key_id: forger.public_pem}) in {
        "receipt_malformed",
        "bad_signature",
    }
    empty = base64.b64encode(b"").decode()
    assert (
        refused(resigned(document | {"signature": empty}), OUTPUT, {forger.key_id: forger.public_pem})
        == "bad_signature"
    )


def test_a_signed_thing_of_another_form_is_refused(key: SigningKey) -> None:
    for receipt in ({"schema": "audiomill.receipt/2"}, "text", None):
        signature = base64.b64encode(key.private.sign(rfc8785.dumps(receipt))).decode()
        document = {"algorithm": "Ed25519", "key_id": key.key_id, "receipt": receipt, "signature": signature}
        assert refused(resigned(document), OUTPUT, {key.key_id: key.public_pem}) == "receipt_malformed"


def test_swapped_and_changed_outputs(key: SigningKey, tmp_path: Path) -> None:
    keys = {key.key_id: key.public_pem}
    receipt, other = sign(body(), key), sign(body(b"other"), key)
    assert verify(other, b"other", keys)
    for wrong in (b"other", OUTPUT + b" ", b"", OUTPUT[:-1]):
        assert refused(receipt, wrong, keys) == "output_changed"
    with pytest.raises(BadInput, match=r"t\.srt.*its SHA-256 is d9298a10.*the receipt says") as caught:
        verify(receipt, b"other", keys)
    assert json.loads(receipt)["receipt"]["output"]["sha256"] in caught.value.message
    assert refused(receipt, tmp_path / "absent", keys) == "output_missing"


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.floats(allow_nan=False, allow_infinity=False)
        | st.integers(-(2**53) + 1, 2**53 - 1)
        | st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=20)
        | st.booleans()
        | st.none(),
        max_size=5,
    )
)
def test_any_parameters_survive(parameters: dict[str, object]) -> None:
    try:
        receipt = sign(body(parameters=parameters), KEY)
    except ValueError:
        assert any("\ud800" <= char <= "\udfff" for name in parameters for char in name)
        return
    again = verify(receipt, OUTPUT, {KEY.key_id: KEY.public_pem})
    assert again.receipt.parameters == parameters
    assert sign(again.receipt, KEY) == receipt


KEY = new_key()


def test_one_number_has_one_spelling(key: SigningKey) -> None:
    same = [body(parameters={"x": value}) for value in (1, 1.0, 1e0)]
    assert len({sign(each, key) for each in same}) == 1
    for value in (float("nan"), float("inf"), 2**53 + 1, {"deep": [float("-inf")]}):
        with pytest.raises(ValueError, match="cannot be written"):
            sign(body(parameters={"x": value}), key)
    with pytest.raises(ValidationError):
        body(processing_seconds=float("nan"))
    with pytest.raises(ValidationError):
        body(seed=2**60)
    with pytest.raises(ValidationError):
        body(made_at=datetime(2026, 1, 1))  # noqa: DTZ001 - a time without a zone is what is refused


def test_times_are_written_in_utc(key: SigningKey) -> None:
    moment = datetime(2026, 11, 21, 9, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert json.loads(sign(body(made_at=moment), key))["receipt"]["made_at"] == "2026-11-21T04:00:00.000Z"


def test_the_key_is_made_once_for_all_processes(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new")
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: signing_key(settings), range(16)))
    assert len({each.key_id for each in keys}) == 1
    (file,) = (tmp_path / "new/keys").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert public_keys(settings) == {keys[0].key_id: keys[0].public_pem}
    assert "PRIVATE" not in keys[0].public_pem
    assert "PRIVATE" not in repr(keys[0])


def test_retired_keys_stay_trusted(tmp_path: Path) -> None:
    old = new_key()
    (tmp_path / "trusted").mkdir()
    (tmp_path / "trusted/2025.pem").write_text(old.public_pem)
    settings = Settings(data_dir=tmp_path, trusted_receipt_keys=tmp_path / "trusted")
    keys = public_keys(settings)
    assert keys.keys() == {old.key_id, signing_key(settings).key_id}
    assert verify(sign(body(), old), OUTPUT, keys).key_id == old.key_id


def test_keys_that_cannot_work_are_said_by_name(tmp_path: Path) -> None:
    trusted = tmp_path / "trusted"
    settings = Settings(data_dir=tmp_path, trusted_receipt_keys=trusted)
    with pytest.raises(ConfigurationError, match="does not exist"):
        public_keys(settings)
    trusted.mkdir()
    for content in (b"no key", b"\xff\xfe", b""):
        (trusted / "bad.pem").write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"bad\.pem"):
            public_keys(settings)
    curve = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (curve, b"no key", b""):
        (tmp_path / "own.pem").write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"own\.pem"):
            signing_key(Settings(data_dir=tmp_path, receipt_key_file=tmp_path / "own.pem"))
    with pytest.raises(ConfigurationError, match=r"absent\.pem cannot be read"):
        signing_key(Settings(data_dir=tmp_path, receipt_key_file=tmp_path / "absent.pem"))
