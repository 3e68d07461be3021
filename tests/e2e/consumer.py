"""A consumer as AWS recommends it: it caches the secret, and reads it again when Infobip refuses the key.

Run by the Python that has aws-secretsmanager-caching (see .ci/e2e): ``consumer.py SECRET INFOBIP_URL``. Each line that
it reads on stdin makes it use the key once; it answers with one JSON line, {"status", "read_again"}.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request

import boto3
from aws_secretsmanager_caching import SecretCache, SecretCacheConfig  # type: ignore[import-not-found]


def status_of(cache: SecretCache, secret: str, url: str) -> int:
    """What Infobip answers to the key that the cache has."""
    value = json.loads(cache.get_secret_string(secret))
    headers = {"Authorization": f"App {value['api_key']}"}
    request = urllib.request.Request(f"{url}/account/1/balance", headers=headers)  # noqa: S310 - a loopback address
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - see above
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def main() -> None:
    """Use the key once for each line on stdin, until stdin is closed."""
    secret, url = sys.argv[1:]
    # The library's default of an hour would mean that nothing but a refusal makes this test read again.
    config = SecretCacheConfig(secret_refresh_interval=2)
    cache = SecretCache(config=config, client=boto3.client("secretsmanager"))
    for _ in sys.stdin:
        status, again = status_of(cache, secret, url), False
        if status == 401:
            cache.refresh_secret_now(secret)
            status, again = status_of(cache, secret, url), True
        print(json.dumps({"status": status, "read_again": again}), flush=True)


if __name__ == "__main__":
    main()
