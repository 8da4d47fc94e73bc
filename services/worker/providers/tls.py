"""Failed TLS handshakes with providers, in words that say what to do."""

from __future__ import annotations

import ssl
from typing import Final

__all__ = ["handshake_failure_text"]

_EXPIRED: Final = 10
"""X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""
_WRONG_NAME: Final = frozenset({62, 63, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH, …EMAIL… and …IP_ADDRESS_MISMATCH of OpenSSL."""
_INTERRUPTED: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""Handshakes that the other end broke off, as a provider that restarts does."""
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
_OLD_TLS: Final = ("PROTOCOL", "VERSION")


def handshake_failure_text(error: BaseException) -> str | None:
    """Why no TLS connection is possible until a setting is changed, and which; None: another attempt may succeed,
    or it is another kind of error.
    """
    if not isinstance(error, ssl.SSLError) or isinstance(error, _INTERRUPTED):
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the provider's certificate is not accepted: {error.verify_message}; {_advice(error.verify_code)}"
    reason = error.reason or str(error)
    if reason in _NO_TLS:
        return f"the provider does not speak TLS there ({reason}); correct its base_url"
    if any(word in reason for word in _OLD_TLS):
        return f"the provider offers no version of TLS that is still accepted, 1.2 or newer ({reason})"
    return f"no TLS connection to the provider: {reason}"


def _advice(verify_code: int) -> str:
    if verify_code == _EXPIRED:
        return "the provider has to renew it, unless the clock of this machine is wrong"
    if verify_code in _WRONG_NAME:
        return "correct its base_url, or have the certificate issued for that name"
    return "if you trust who signed it, name their certificate (PEM) as ca_file of the provider"
