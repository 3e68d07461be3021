"""What is wrong on this machine, before anything can be sent to AWS."""

from __future__ import annotations

from botocore import exceptions as boto

from rotator.errors import ConfigurationError


def configuration_error(error: Exception) -> ConfigurationError | None:
    """The same with the fix, for botocore's errors about credentials, region and files; ``None`` for any other."""
    if isinstance(error, boto.NoCredentialsError):
        return ConfigurationError(
            "no AWS credentials were found",
            advice="Set AWS_PROFILE, pass --profile, or run where a role is attached (Lambda, ECS, EC2).",
        )
    if isinstance(error, boto.PartialCredentialsError):
        return ConfigurationError(
            "the AWS credentials are incomplete",
            advice="Set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither and use a profile or role.",
        )
    if isinstance(error, boto.ProfileNotFound):
        return ConfigurationError(
            str(error), advice="Check --profile and AWS_PROFILE against ~/.aws/config, or unset them."
        )
    if isinstance(error, boto.NoRegionError):
        return ConfigurationError("no AWS region is set", advice="Set AWS_REGION or pass --region.")
    if isinstance(error, boto.InvalidRegionError):
        return ConfigurationError(str(error), advice="A region looks like eu-central-1: check AWS_REGION and --region.")
    if isinstance(error, boto.ConfigParseError | boto.ConfigNotFound | boto.InvalidConfigError):
        return ConfigurationError(f"the AWS configuration cannot be read ({type(error).__name__})", advice="Fix it.")
    if isinstance(
        error, boto.CredentialRetrievalError | boto.TokenRetrievalError | boto.SSOError | boto.MetadataRetrievalError
    ):
        return ConfigurationError(
            f"AWS credentials could not be fetched ({type(error).__name__})",
            advice="Log in again (aws sso login), or check the credential process or role that the profile names.",
        )
    return None
