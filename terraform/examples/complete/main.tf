# Every option of the module, and secrets whose values Terraform never sees.

terraform {
  # 1.11: write-only arguments keep a secret's first value out of the state.
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
  }
}

module "rotator" {
  source = "../.."

  name         = "infobip-key-rotator-${var.stage}"
  deployment   = var.stage
  package_path = var.package_path

  # Review a plan first, then set it to false.
  dry_run             = var.dry_run
  schedule_expression = "rate(30 minutes)"

  event_bus_name      = "default"
  secret_kms_key_arns = [aws_kms_key.secrets.arn]
  xray                = true
  adoption_gate       = true
  alarm_emails        = var.alarm_emails
  tags                = local.tags
}

locals {
  tags = { service = "infobip-key-rotator", stage = var.stage }
}

resource "aws_kms_key" "secrets" {
  #checkov:skip=CKV2_AWS_64:KMS's default policy delegates to IAM, which the module's roles rely on

  description             = "Secrets with Infobip API keys"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  tags                    = local.tags
}
