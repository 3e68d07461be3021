# One role per function, with only the permissions that its code uses. serverless.yml has the same documents.
#
# A role reaches secrets only by their tag: rotator:role=management or rotator:role=key. So a principal that may tag secrets
# can give a secret to the rotator; naming one in an event can't.

locals {
  secrets = "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:*"

  # With stores, narrowed to their regions by a condition; CloudFormation can't write one ARN per region.
  secrets_anywhere = "arn:${local.partition}:secretsmanager:*:${local.account}:secret:*"

  # Regions with secrets that the functions' own roles reach; roles that they assume for the others.
  store_regions = [for store in var.stores : store if !startswith(store, "arn:")]
  store_roles   = distinct([for store in var.stores : regex("^(.+)@", store)[0] if startswith(store, "arn:")])

  # Written out rather than taken from the queue, so that a plan shows whole policies.
  queue_arn = "arn:${local.partition}:sqs:${local.region}:${local.account}:${var.name}-accounts.fifo"

  change = [
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetSecretValue",
    "secretsmanager:ListSecretVersionIds",
    "secretsmanager:PutSecretValue",
    "secretsmanager:UpdateSecretVersionStage",
  ]

  # batches: searches all managed secrets for a key. sweeps: observes whole accounts and plans what is revoked. stores: reaches
  # the secrets of all stores.
  permissions = {
    # In dry-run it plans, which reads; live, it only sends. It never changes a secret.
    sweep = {
      key_actions = ["secretsmanager:GetSecretValue"]
      kms_actions = ["kms:Decrypt"]
      events      = false
      batches     = true
      sweeps      = true
      stores      = length(var.stores) > 0
      queue       = { sid = "SendAccounts", actions = ["sqs:SendMessage"] }
    }
    worker = {
      key_actions = local.change
      kms_actions = ["kms:Decrypt", "kms:GenerateDataKey"]
      events      = true
      batches     = true
      sweeps      = true
      stores      = length(var.stores) > 0
      queue = {
        sid     = "ReceiveAccounts"
        actions = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
      }
    }
    revoke = {
      key_actions = local.change
      kms_actions = ["kms:Decrypt", "kms:GenerateDataKey"]
      events      = true
      batches     = true
      sweeps      = false
      stores      = length(var.stores) > 0
      queue       = null
    }
    rotation = {
      key_actions = local.change
      kms_actions = ["kms:Decrypt", "kms:GenerateDataKey"]
      events      = true
      batches     = false
      sweeps      = false
      stores      = false
      queue       = null
    }
  }
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "function" {
  for_each = local.permissions

  name                 = "${var.name}-${each.key}"
  description          = "What the function ${var.name}-${each.key} may do"
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "function" {
  for_each = local.permissions

  name   = each.key
  role   = aws_iam_role.function[each.key].id
  policy = data.aws_iam_policy_document.function[each.key].json
}
