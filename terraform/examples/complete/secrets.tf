# Tags set the policy; values change without Terraform.

# Its value contains base_url, username and password: store it by hand (docs/deploy.md) to keep it out of the state.
resource "aws_secretsmanager_secret" "management" {
  #checkov:skip=CKV2_AWS_57:These are a person's or service user's credentials, which only Infobip's portal changes

  name        = "infobip/main"
  description = "Credentials that may manage API keys of the Infobip account main"
  kms_key_id  = aws_kms_key.secrets.arn
  tags        = merge(local.tags, { "rotator:role" = "management", "rotator:account" = "main" })
}

# An empty secret: the first live sweep creates a key with these scopes and stores it.
resource "aws_secretsmanager_secret" "sms" {
  #checkov:skip=CKV2_AWS_57:The rotator's schedule rotates it

  name        = "prod/sms/otp"
  description = "Infobip API key of the OTP service"
  kms_key_id  = aws_kms_key.secrets.arn

  tags = merge(local.tags, {
    "rotator:role"     = "key"
    "rotator:account"  = "main"
    "rotator:scopes"   = "sms:message:send"
    "rotator:validity" = "90d"
    "rotator:grace"    = "72h"
  })
}

# A secret whose first value Terraform writes, such as a key created by hand. After that the rotator changes the value:
# without ignore_changes the next apply would restore the old, revoked key.
resource "aws_secretsmanager_secret" "voice" {
  #checkov:skip=CKV2_AWS_57:The rotator's schedule rotates it

  name       = "prod/voice/alerts"
  kms_key_id = aws_kms_key.secrets.arn
  tags       = merge(local.tags, { "rotator:role" = "key", "rotator:account" = "main" })
}

resource "aws_secretsmanager_secret_version" "voice" {
  secret_id                = aws_secretsmanager_secret.voice.id
  secret_string_wo         = jsonencode({ api_key = var.voice_api_key })
  secret_string_wo_version = 1

  lifecycle {
    ignore_changes = all
  }
}

# Optional: the console's button "Rotate secret immediately". Secrets Manager calls the same code; the rotator's own
# schedule continues, and neither disturbs the other's rotations. It ignores dry_run.
resource "aws_secretsmanager_secret_rotation" "voice" {
  count = var.dry_run ? 0 : 1

  secret_id           = aws_secretsmanager_secret.voice.id
  rotation_lambda_arn = module.rotator.rotation_function_arn
  rotate_immediately  = false

  rotation_rules {
    schedule_expression = "rate(60 days)"
  }

  depends_on = [aws_secretsmanager_secret_version.voice]
}
