"""Signs and verifies a SHA-256 digest with an asymmetric key in AWS KMS, which never leaves KMS."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore import exceptions as boto

from rotator.aws.aws_errors import code_of, failure_of
from rotator.errors import ConfigurationError
from rotator.text import printable

_ALGORITHMS: Final = ("ECDSA_SHA_256", "RSASSA_PSS_SHA_256", "RSASSA_PKCS1_V1_5_SHA_256")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key in KMS."""

    client: Any
    arn: str
    algorithm: str

    @classmethod
    def named(cls, client: Any, name: str) -> SigningKey:
        """Return the key with an id, alias or ARN.

        :param client: a ``kms`` client.
        :raises ConfigurationError: unknown or denied, or a key that signs no SHA-256 digest.
        """
        found = _call("kms:DescribeKey", name, lambda: client.describe_key(KeyId=name))["KeyMetadata"]
        algorithm = next((each for each in _ALGORITHMS if each in found.get("SigningAlgorithms", ())), None)
        if algorithm is None:
            raise ConfigurationError(
                f"KMS key {found['Arn']} can't sign a SHA-256 digest",
                advice="Use a key with usage SIGN_VERIFY, for example ECC_NIST_P256.",
            )
        return cls(client, found["Arn"], algorithm)

    def sign(self, data: bytes) -> dict[str, str]:
        """Return the signature of the data's SHA-256, in base64, with the key and the algorithm.

        :raises RotatorError: KMS refused, or did not answer.
        """
        found = _call("kms:Sign", self.arn, lambda: self.client.sign(**self._query(data)))
        signature = base64.b64encode(found["Signature"]).decode()
        return {"key": self.arn, "algorithm": self.algorithm, "signature": signature}

    def verifies(self, data: bytes, signed: Mapping[str, Any]) -> bool:
        """Whether this key signed the data's SHA-256.

        :param signed: as :meth:`sign` returned it; untrusted input.
        :raises RotatorError: KMS refused to verify it, or did not answer.
        """
        try:
            raw = base64.b64decode(str(signed.get("signature")), validate=True)
        except (binascii.Error, ValueError):
            return False
        if not raw:
            return False
        found = _call("kms:Verify", self.arn, lambda: self.client.verify(Signature=raw, **self._query(data)))
        return found.get("SignatureValid") is True

    def _query(self, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).digest()
        return {"KeyId": self.arn, "Message": digest, "MessageType": "DIGEST", "SigningAlgorithm": self.algorithm}


def _call(action: str, name: str, call: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    try:
        return call()
    except (boto.ClientError, boto.BotoCoreError) as error:
        if code_of(error) == "KMSInvalidSignatureException":
            return {}
        advice = f"Check the key, its region and state, and that you may call {action}."
        failure = failure_of(error, "KMS", f"{action} with {printable(name)} failed", advice)
    raise failure
