"""`audiomill verify` and `audiomill receipt-keys`: receipts checked against the public keys of those who signed."""

from pathlib import Path
from typing import Annotated

import typer

from audiomill.console import fail, out, show_table
from audiomill.formats import RECEIPT_SUFFIX, is_receipt
from audiomill.settings import get_settings


def pairs_in(path: Path) -> list[tuple[Path, Path]]:
    """(file, receipt) of a file, a receipt, or a folder with all below it."""
    if path.is_dir():
        receipts = sorted(each for each in path.rglob(f"*{RECEIPT_SUFFIX}") if each.is_file())
    elif is_receipt(path.name):
        receipts = [path]
    else:
        receipts = [path.with_name(path.name + RECEIPT_SUFFIX)]
    return [(receipt.with_name(receipt.name.removesuffix(RECEIPT_SUFFIX)), receipt) for receipt in receipts]


def verdicts(pairs: list[tuple[Path, Path]], keys: dict[str, str]) -> list[tuple[Path, str | None]]:
    """Each file with the reason why its receipt is refused, or None."""
    from audiomill.errors import BadInput  # noqa: PLC0415 - cryptography: not for --help
    from audiomill.receipts.verifying import verify as verify_receipt  # noqa: PLC0415 - as above

    found: list[tuple[Path, str | None]] = []
    for file, receipt in pairs:
        try:
            verify_receipt(receipt.read_bytes(), file, keys)
        except BadInput as error:
            found.append((file, error.message))
        except OSError as error:
            found.append((file, f"The receipt {receipt.name} cannot be read: {error.strerror}."))
        else:
            found.append((file, None))
    return found


def verify(
    paths: Annotated[list[Path], typer.Argument(help="Files with their receipts beside them, or folders of such.")],
    keys: Annotated[
        str | None,
        typer.Option(
            "--keys", help="Trusted public keys: a file or a URL (…/v1/receipt-keys); default: this installation's."
        ),
    ] = None,
) -> None:
    """Check files against their receipts. Ends with 1 if any is refused."""
    pairs = [pair for path in paths for pair in pairs_in(path)]
    if not pairs:
        fail(f"There is no receipt (*{RECEIPT_SUFFIX}) in {', '.join(map(str, paths))}.")
    results = verdicts(pairs, trusted_keys(keys))
    show_table(("file", "", ""), [(file, "refused" if why else "holds", why) for file, why in results])
    refused = sum(why is not None for _, why in results)
    out.print(f"{len(results) - refused} of {len(results)} receipts hold.")
    if refused:
        raise typer.Exit(1)


def receipt_keys() -> None:
    """Print the public keys that receipts of this installation are verified with, as the API gives them."""
    import json  # noqa: PLC0415 - as above

    keys = trusted_keys(None)
    out.print_json(
        json.dumps(
            {"keys": [{"key_id": name, "algorithm": "Ed25519", "public_key": pem} for name, pem in keys.items()]}
        )
    )


def trusted_keys(source: str | None) -> dict[str, str]:
    """Key id to PEM: from a file or URL of the form of GET /v1/receipt-keys, or this installation's own."""
    import json  # noqa: PLC0415 - as above

    from audiomill.errors import ConfigurationError  # noqa: PLC0415 - as above
    from audiomill.receipts.keys import own_key_path, public_keys  # noqa: PLC0415 - as above

    if source is None:
        settings = get_settings()
        if settings.receipt_key_file is None and not own_key_path(settings).exists():
            # Looking must not make a key: nothing could have been signed with it.
            raise ConfigurationError(
                f"There is no receipt key in {settings.data_dir}, so nothing was signed there. Is your platform's data "
                "elsewhere (AUDIOMILL_DATA_DIR, --data-dir)? Receipts of another installation: --keys URL."
            )
        return public_keys(settings)
    try:
        if source.startswith(("https://", "http://")):
            import httpx  # noqa: PLC0415 - as above

            text = httpx.get(source, timeout=30, follow_redirects=True).raise_for_status().text
        else:
            text = Path(source).read_text()
        return {str(key["key_id"]): str(key["public_key"]) for key in json.loads(text)["keys"]}
    except OSError as error:
        fail(f"The keys {source} cannot be read: {error.strerror}.")
    except (ValueError, KeyError, TypeError):
        fail(f"{source} is not of the form of GET /v1/receipt-keys.")
    except Exception as error:  # noqa: BLE001 - httpx is imported late; its errors share no built-in base
        fail(f"The keys {source} cannot be fetched: {error}.")
