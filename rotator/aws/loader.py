"""botocore's data, read sparingly: most of the time that a first client takes goes into data that it does not need.

Two things are read for every client: the folders of all 400 services, to see that the one asked for is among them, and
``endpoints.json`` (over a megabyte), although each service's own rules for endpoints decide. Here the services are
named, and what little is asked of the latter is derived from ``partitions.json``, which botocore reads in any case.
"""

from __future__ import annotations

from typing import Any, Final

from botocore.loaders import Loader

SERVICES: Final = ("secretsmanager", "sqs", "events", "cloudtrail", "sts", "sso", "sso-oidc", "signin")
"""What the program makes clients of, and what botocore does to fetch credentials."""


class SparingLoader(Loader):
    """A botocore ``data_loader`` for :data:`SERVICES`; a client of any other is refused as unknown."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore passes it
        """The services, without a look at the disk."""
        return list(SERVICES)

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        """Data and where it was found; see botocore's own."""
        if name != "endpoints":
            return super().load_data_with_path(name)
        partitions, path = super().load_data_with_path("partitions")
        try:
            return {"version": 3, "partitions": [_endpoints(item) for item in partitions["partitions"]]}, path
        except (KeyError, TypeError):  # a botocore that writes it differently
            return super().load_data_with_path(name)


def _endpoints(partition: dict[str, Any]) -> dict[str, Any]:
    """One partition in the older form, with the hostnames that it has for every service."""
    outputs = partition["outputs"]
    suffix, dual = outputs["dnsSuffix"], outputs["dualStackDnsSuffix"]
    variants = [
        {"hostname": "{service}-fips.{region}.{dnsSuffix}", "dnsSuffix": suffix, "tags": ["fips"]},
        {"hostname": "{service}.{region}.{dnsSuffix}", "dnsSuffix": dual, "tags": ["dualstack"]},
        {"hostname": "{service}-fips.{region}.{dnsSuffix}", "dnsSuffix": dual, "tags": ["dualstack", "fips"]},
    ]
    return {
        "partition": partition["id"],
        "dnsSuffix": suffix,
        "regionRegex": partition["regionRegex"],
        "regions": {name: {"description": name} for name in partition["regions"]},
        "defaults": {
            "hostname": "{service}.{region}.{dnsSuffix}",
            "protocols": ["https"],
            "signatureVersions": ["v4"],
            "variants": variants,
        },
        "services": {},
    }
