"""Authentication at NATS: credentials file, nkey seed, user and password, token, TLS."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

from msgspec import Struct

__all__ = ["NO_NATS_AUTH", "NatsAuth", "NatsAuthError"]

_FILE: Final = "file:"
_FORMER_CREDS: Final = "NATS_CREDENTIALS"
"""The former name of NATS_CREDS, which still counts."""


class NatsAuthError(ValueError):
    """A setting of `NatsAuth` that cannot be used, named by its environment variable."""

    def __init__(self, variable: str, problem: str) -> None:
        super().__init__(f"{variable} {problem}")
        self.variable = variable
        self.problem = problem


class NatsAuth(Struct, frozen=True, kw_only=True):
    """Credentials and TLS settings of a NATS connection. Each field names its environment variable."""

    creds: str | None = None
    """NATS_CREDS: path of a `.creds` file (a user JWT and its nkey seed)."""
    nkey_seed: str | None = None
    """NATS_NKEY_SEED: path of a file with an nkey seed."""
    user: str | None = None
    """NATS_USER: the name of the user."""
    password: str | None = None
    """NATS_PASSWORD: the password, or `file:PATH`."""
    token: str | None = None
    """NATS_TOKEN: the token, or `file:PATH`."""
    ca: str | None = None
    """NATS_CA: path of the certificates (PEM) that sign the server's; None: those of the system."""
    cert: str | None = None
    """NATS_CERT: path of the client certificate (PEM)."""
    key: str | None = None
    """NATS_KEY: path of the client certificate's private key (PEM)."""
    tls_hostname: str | None = None
    """NATS_TLS_HOSTNAME: the name in the server's certificate, when it is not the host of the address."""

    def __repr__(self) -> str:
        """Names the fields that are set and shows no secret."""
        names = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        return f"NatsAuth({', '.join(f'{name}=…' for name in names)})"

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> NatsAuth:
        """The settings in `env`; an empty variable counts as not set. Reads no file."""
        found = {name: env.get(_variable(name)) or None for name in cls.__struct_fields__}
        found["creds"] = found["creds"] or env.get(_FORMER_CREDS) or None
        return cls(**found)

    @property
    def wants_tls(self) -> bool:
        return any(each is not None for each in (self.ca, self.cert, self.key, self.tls_hostname))

    def options(self) -> dict[str, Any]:
        """The options of `nats.connect`. Reads every file once; raises NatsAuthError for one that cannot be used."""
        options: dict[str, Any] = {}
        if self.creds is not None:
            text = _text("NATS_CREDS", self.creds)
            if "BEGIN NATS USER JWT" not in text or "BEGIN USER NKEY SEED" not in text:
                raise NatsAuthError("NATS_CREDS", f"{self.creds} holds no user JWT and nkey seed")
            _nkeys("NATS_CREDS")
            options["user_credentials"] = self.creds
        if self.nkey_seed is not None:
            _check_seed(self.nkey_seed)
            options["nkeys_seed"] = self.nkey_seed
        if (self.user is None) != (self.password is None):
            missing = "NATS_USER" if self.user is None else "NATS_PASSWORD"
            raise NatsAuthError(missing, "is missing: a user and a password belong together")
        if self.user is not None:
            options |= {"user": self.user, "password": _secret("NATS_PASSWORD", self.password)}
        if self.token is not None:
            options["token"] = _secret("NATS_TOKEN", self.token)
        if self.wants_tls:
            options["tls"] = self._tls_context()
        if self.tls_hostname is not None:
            options["tls_hostname"] = self.tls_hostname
        return options

    def _tls_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise NatsAuthError("NATS_CA", f"{self.ca} cannot be used: {_reason(error)}") from error
        if (self.cert is None) != (self.key is None):
            missing = "NATS_CERT" if self.cert is None else "NATS_KEY"
            raise NatsAuthError(missing, "is missing: a certificate and its key belong together")
        if self.cert is not None:
            try:
                context.load_cert_chain(self.cert, self.key)
            except OSError as error:
                problem = f"{self.cert} and NATS_KEY {self.key} cannot be used: {_reason(error)}"
                raise NatsAuthError("NATS_CERT", problem) from error
        return context


def _variable(field: str) -> str:
    return f"NATS_{field.upper()}"


NO_NATS_AUTH: Final[Mapping[str, str]] = {
    _FORMER_CREDS: "",
    **{_variable(name): "" for name in NatsAuth.__struct_fields__},
}
"""Every variable of NatsAuth, empty: the environment for a server without authentication."""


def _text(variable: str, path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise NatsAuthError(variable, f"{path} cannot be read: {_reason(error)}") from error


def _secret(variable: str, value: str | None) -> str | None:
    if value is None or not value.startswith(_FILE):
        return value
    return _text(variable, value.removeprefix(_FILE)).strip()


def _nkeys(variable: str) -> ModuleType:
    """The library that signs with an nkey seed, also for nats-py; raises NatsAuthError if it is not installed."""
    try:
        import nkeys  # noqa: PLC0415 - few processes need it
    except ModuleNotFoundError as error:
        raise NatsAuthError(
            variable,
            "needs the extra nkeys, which is not installed (pip install 'penstock[nkeys]'; "
            "from a clone pip install '.[nkeys]')",
        ) from error
    return cast("ModuleType", nkeys)


def _check_seed(path: str) -> None:
    nkeys = _nkeys("NATS_NKEY_SEED")
    seed = bytearray(_text("NATS_NKEY_SEED", path).strip().encode())
    try:
        nkeys.from_seed(seed)
    except (nkeys.NkeysError, ValueError, IndexError) as error:
        raise NatsAuthError("NATS_NKEY_SEED", f"{path} holds no nkey seed") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
