"""Signs and verifies a SHA-256 digest with an asymmetric key in AWS KMS, which never leaves KMS."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, Final

from botocore import exceptions as boto

from rotator.aws.aws_errors import code_of, failure_of
from rotator.errors import ConfigurationError

_ALGORITHMS: Final = ("ECDSA_SHA_256", "RSASSA_PSS_SHA_256", "RSASSA_PKCS1_V1_5_SHA_256")


class Signer:
    """KMS over HTTP.

    :param connect: makes a ``kms`` client when first needed.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect

    def key(self, key_id: str) -> tuple[str, str]:
        """Return a key's ARN and the algorithm with which it signs.

        :raises ConfigurationError: unknown or denied, or a key that signs no SHA-256 digest.
        """
        found = self._call("DescribeKey", key_id, lambda client: client.describe_key(KeyId=key_id))["KeyMetadata"]
        algorithm = next((each for each in _ALGORITHMS if each in found.get("SigningAlgorithms", ())), None)
        if algorithm is None:
            raise ConfigurationError(
                f"KMS key {key_id[:100]} can't sign a SHA-256 digest",
                advice="Use a key with usage SIGN_VERIFY, for example ECC_NIST_P256.",
            )
        return str(found["Arn"]), algorithm

    def sign(self, digest: bytes, key_arn: str, algorithm: str) -> str:
        """Return the signature, in base64.

        :raises RotatorError: KMS refused.
        """
        answer = self._call(
            "Sign",
            key_arn,
            lambda client: client.sign(KeyId=key_arn, Message=digest, MessageType="DIGEST", SigningAlgorithm=algorithm),
        )
        return base64.b64encode(answer["Signature"]).decode()

    def verify(self, digest: bytes, key_id: str, algorithm: str, signature: str) -> bool:
        """Whether the signature of the digest was made with this key.

        :raises RotatorError: KMS refused to check it.
        """
        try:
            raw = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            return False
        if not raw or algorithm not in _ALGORITHMS:
            return False
        query = {"MessageType": "DIGEST", "Message": digest, "Signature": raw, "SigningAlgorithm": algorithm}
        answer = self._call("Verify", key_id, lambda client: client.verify(KeyId=key_id, **query))
        return answer.get("SignatureValid") is True

    def _call(self, action: str, key_id: str, call: Callable[[Any], Mapping[str, Any]]) -> Mapping[str, Any]:
        try:
            return call(self._connect())
        except (boto.ClientError, boto.BotoCoreError) as error:
            if code_of(error) == "KMSInvalidSignatureException":
                return {}
            advice = f"Check the key, its region and state, and that you may call kms:{action}."
            failure = failure_of(error, "KMS", f"kms:{action} with {key_id[:100]} failed", advice)
        raise failure
