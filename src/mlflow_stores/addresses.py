"""Addresses of stores: made absolute, or printed without their credentials."""

import re
from pathlib import Path
from urllib.parse import quote, unquote

SHORTEST_SECRET = 4  # a shorter password is hidden only before its @: elsewhere it may be part of any word
NO_PORT = r"(?!\d+(?:[/?#\s,;:'\")]|$))"  # what stands behind the colon of host:5000 is no password
CREDENTIALS = re.compile(
    rf"(\w+\\?://)(?:[^:/@\s'\"]*:{NO_PORT}(?:[^/\n]*|[^@\s]*)@|[^/@\s]+@)"  # ://user:password@ and ://token@
)
SECRET_PARAMETERS = re.compile(
    r"(?i)([?&][\w-]*(?:password|passwd|pwd|token|secret|api_?key|access_?key|odbc_connect)\\?=)[^&\s'\"]+"
)


def folder_name(name: str) -> str:
    """`name` as the name of a folder: no separators, not hidden, not empty."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"


def sqlite_path(uri: str) -> Path | None:
    """The file of a sqlite:/// address; None for any other address."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def absolute(uri: str) -> str:
    """sqlite:///mlflow.db -> sqlite:////where/it/started/mlflow.db; a server or database keeps its address.

    Raises ValueError for an address that MLflow could not use.
    """
    if "://***@" in uri:
        raise ValueError(
            f"tracking.uri has no login, since records leave it out: {uri}; write it out, or leave out ***@ and set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    path = sqlite_path(uri)
    if path is not None:
        return f"sqlite:///{path.expanduser().resolve()}"
    if uri.startswith(("http://", "https://", "postgresql", "mysql", "mssql")):
        return uri.rstrip("/")
    raise ValueError(
        f"tracking.uri must start with sqlite:///, http://, https:// or name a database; got {redact(uri)}"
    )


def redact(text: str, *addresses: str) -> str:
    """`text` without credentials: postgresql://user:secret@host -> postgresql://***@host

    Of URLs in the text, and of `addresses` in the forms in which libraries quote their parts: without the scheme,
    decoded, without the user. The password may hold spaces, colons and @; behind a port no @ counts.
    """
    for address in addresses:
        for secret in _secrets(address):
            text = text.replace(secret, "***@" if secret.endswith("@") else "***")
    text = CREDENTIALS.sub(r"\1***@", text)
    return SECRET_PARAMETERS.sub(r"\1***", text)


def _secrets(address: str) -> list[str]:
    """What of `address` may not be printed, longest first."""
    found = CREDENTIALS.match(address)
    if found is None:
        return []
    userinfo = found[0][len(found[1]) : -1]
    user, _, password = userinfo.partition(":")
    forms = {password, unquote(password), quote(unquote(password), safe="")}
    secrets = {f"{start}{form}@" for form in forms if form for start in (f"{user}:", f"{unquote(user)}:", "")}
    secrets |= {form for form in forms if len(form) >= SHORTEST_SECRET}
    return sorted(secrets or {f"{userinfo}@"}, key=len, reverse=True)
