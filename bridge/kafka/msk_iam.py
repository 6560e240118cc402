"""Access tokens for Amazon MSK with IAM: requests for ``kafka-cluster:Connect``, signed by AWS's own library.

That library and boto, on which it is based, are the optional extra ``msk-iam``.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bridge.errors import TokenUnavailable
from bridge.oauth.current_grant import CurrentGrant
from bridge.oauth.endpoint import Grant

if TYPE_CHECKING:
    from collections.abc import Callable

MECHANISM = "AWS_MSK_IAM"
#: The credentials may come from servers: of the instance's metadata, of the pod identity, or STS.
DEADLINE_SECONDS = 10.0
_CHECK_CREDENTIALS = (
    "Check the AWS credentials of this process: an IAM role for the pod or the instance, or AWS_ACCESS_KEY_ID with "
    "AWS_SECRET_ACCESS_KEY. The bridge will retry."
)


class SignedTokens:
    """Tokens signed with the credentials that boto finds, each used for 80 % of its lifetime."""

    def __init__(
        self, region: str, *, deadline_seconds: float = DEADLINE_SECONDS, clock: Callable[[], float] = time.time
    ) -> None:
        self._region = region
        self._deadline_seconds = deadline_seconds
        self._clock = clock
        self._current = CurrentGrant(self._renew, clock=clock)

    async def access_token(self) -> str:
        """Return the current token; raises BridgeError."""
        return (await self._current.get()).access_token

    async def _renew(self) -> Grant:
        try:
            async with asyncio.timeout(self._deadline_seconds):
                # In a thread, since boto reads files and waits for servers.
                token, expires_at_ms = await asyncio.to_thread(_sign, self._region)
        except TimeoutError:
            problem = f"no AWS credentials within {self._deadline_seconds:g} s"
            raise TokenUnavailable(f"{MECHANISM}: {problem}. {_CHECK_CREDENTIALS}") from None
        return Grant(token, expires_at_ms / 1000 - self._clock())


def _sign(region: str) -> tuple[str, int]:
    """Return a token, and when it expires in milliseconds since the epoch; raise TokenUnavailable."""
    # boto is slow to import, and missing unless the extra is installed.
    from aws_msk_iam_sasl_signer.MSKAuthTokenProvider import generate_auth_token  # noqa: PLC0415

    try:
        token, expires_at_ms = generate_auth_token(region)
    except Exception as error:  # noqa: BLE001 - boto has dozens, and without credentials it is an AttributeError
        # Without its text and cause: they may quote what a credential process or a server wrote.
        raise TokenUnavailable(f"{MECHANISM}: {_reason(error)}. {_CHECK_CREDENTIALS}") from None
    return token, expires_at_ms


def _reason(error: Exception) -> str:
    if isinstance(error, AttributeError):  # the signer uses the credentials that boto did not find
        return "boto found no AWS credentials"
    response = getattr(error, "response", None)  # of botocore's ClientError
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    operation = getattr(error, "operation_name", None)
    if code and operation:
        return f"AWS rejected {operation} ({code})"
    return f"no token could be signed ({type(error).__name__})"
