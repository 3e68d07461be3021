# For an AWS account whose secrets a rotator in another account serves (its setting stores): the role that it assumes, and a
# rule that forwards new values to it. For another region of an account, the rule alone: leave rotator_role_arn out.
# docs/examples/member-account.yaml is the same for a StackSet.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

data "aws_iam_policy_document" "trust" {
  count = var.rotator_role_arn == null ? 0 : 1

  statement {
    actions = ["sts:AssumeRole"]

    # The account, narrowed by a condition: a policy can name only roles that exist, and loses one that is created again.
    principals {
      type        = "AWS"
      identifiers = [split(":", var.rotator_role_arn)[4]]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:PrincipalArn"
      values   = [var.rotator_role_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = [var.external_id]
    }
  }
}

# It has no access to management secrets: they count only in the rotator's first store.
data "aws_iam_policy_document" "role" {
  count = length(data.aws_iam_policy_document.trust)

  #checkov:skip=CKV_AWS_111:Writing is restricted by the tag rotator:role; ListSecrets and BatchGetSecretValue support no resources
  #checkov:skip=CKV_AWS_356:ListSecrets, BatchGetSecretValue and LookupEvents support no resources, so that AWS accepts only * for them
  #checkov:skip=CKV_AWS_108:It must read secrets; restricted by the tag rotator:role

  # Each secret in a batch needs GetSecretValue as well.
  statement {
    sid       = "FindSecrets"
    actions   = ["secretsmanager:BatchGetSecretValue", "secretsmanager:ListSecrets"]
    resources = ["*"]
  }

  statement {
    sid = "ManagedSecrets"
    actions = [
      "secretsmanager:DescribeSecret",
      "secretsmanager:GetSecretValue",
      "secretsmanager:ListSecretVersionIds",
      "secretsmanager:PutSecretValue",
      "secretsmanager:UpdateSecretVersionStage",
    ]
    resources = [local.secrets]

    condition {
      test     = "StringEquals"
      variable = "secretsmanager:ResourceTag/rotator:role"
      values   = ["key"]
    }
  }

  # An event does not say whether its secret is managed; metadata only, which ListSecrets has as well.
  dynamic "statement" {
    for_each = var.event_bus_arn == null ? [] : [true]

    content {
      sid       = "DescribeChanges"
      actions   = ["secretsmanager:DescribeSecret"]
      resources = [local.secrets]
    }
  }

  dynamic "statement" {
    for_each = length(var.secret_kms_key_arns) == 0 ? [] : [var.secret_kms_key_arns]

    content {
      sid       = "SecretsKeys"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = statement.value

      condition {
        test     = "StringLike"
        variable = "kms:ViaService"
        values   = ["secretsmanager.*.amazonaws.com"]
      }
    }
  }

  dynamic "statement" {
    for_each = var.adoption_gate ? [true] : []

    content {
      sid       = "ReadTrail"
      actions   = ["cloudtrail:LookupEvents"]
      resources = ["*"]
    }
  }
}

locals {
  secrets = "arn:${data.aws_partition.current.partition}:secretsmanager:*:${data.aws_caller_identity.current.account_id}:secret:*"
}

resource "aws_iam_role" "rotator" {
  count = length(data.aws_iam_policy_document.trust)

  name               = "infobip-key-rotator"
  description        = "What the rotator in another AWS account may do here"
  assume_role_policy = data.aws_iam_policy_document.trust[0].json
}

resource "aws_iam_role_policy" "rotator" {
  count = length(aws_iam_role.rotator)

  name   = "rotator"
  role   = aws_iam_role.rotator[0].id
  policy = data.aws_iam_policy_document.role[0].json
}

resource "aws_cloudwatch_event_rule" "changes" {
  count = var.event_bus_arn == null ? 0 : 1

  name        = "infobip-key-rotator-changes"
  description = "Forwards new values of secrets to the rotator"

  event_pattern = jsonencode({
    source      = ["aws.secretsmanager"]
    detail-type = ["Secret Label Updated"]
    detail      = { labelUpdated = ["AWSCURRENT"] }
  })
}

resource "aws_cloudwatch_event_target" "changes" {
  count = length(aws_cloudwatch_event_rule.changes)

  rule      = aws_cloudwatch_event_rule.changes[0].name
  target_id = "rotator"
  arn       = var.event_bus_arn
  role_arn  = aws_iam_role.changes[0].arn
}

# Without a fixed name, because a rule in each region has its own.
resource "aws_iam_role" "changes" {
  count = length(aws_cloudwatch_event_rule.changes)

  name_prefix        = "infobip-key-rotator-changes-"
  description        = "Forwards the events of new values to the rotator"
  assume_role_policy = data.aws_iam_policy_document.forwarder[0].json
}

data "aws_iam_policy_document" "forwarder" {
  count = length(aws_cloudwatch_event_rule.changes)

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

data "aws_iam_policy_document" "forward" {
  count = length(aws_cloudwatch_event_rule.changes)

  statement {
    sid       = "Forward"
    actions   = ["events:PutEvents"]
    resources = [var.event_bus_arn]
  }
}

resource "aws_iam_role_policy" "changes" {
  count = length(aws_iam_role.changes)

  name   = "forward"
  role   = aws_iam_role.changes[0].id
  policy = data.aws_iam_policy_document.forward[0].json
}
