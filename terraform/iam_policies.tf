data "aws_iam_policy_document" "function" {
  for_each = local.permissions

  #checkov:skip=CKV_AWS_111:Writing is restricted by the tag rotator:role; ListSecrets, BatchGetSecretValue and X-Ray support no resources
  #checkov:skip=CKV_AWS_356:ListSecrets, BatchGetSecretValue, LookupEvents and X-Ray support no resources, so that AWS accepts only * for them
  #checkov:skip=CKV_AWS_108:It must read secrets; restricted by the tag rotator:role

  statement {
    sid       = "FindSecrets"
    actions   = ["secretsmanager:ListSecrets"]
    resources = ["*"]
  }

  statement {
    sid       = "ReadManagement"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [local.secrets]

    condition {
      test     = "StringEquals"
      variable = "secretsmanager:ResourceTag/rotator:role"
      values   = ["management"]
    }
  }

  statement {
    sid       = "ManagedSecrets"
    actions   = each.value.key_actions
    resources = [each.value.stores ? local.secrets_anywhere : local.secrets]

    condition {
      test     = "StringEquals"
      variable = "secretsmanager:ResourceTag/rotator:role"
      values   = ["key"]
    }

    dynamic "condition" {
      for_each = each.value.stores ? [local.store_regions] : []

      content {
        test     = "StringEquals"
        variable = "aws:RequestedRegion"
        values   = condition.value
      }
    }
  }

  dynamic "statement" {
    for_each = each.value.stores && length(local.store_roles) > 0 ? [local.store_roles] : []

    content {
      sid       = "AssumeStores"
      actions   = ["sts:AssumeRole"]
      resources = statement.value
    }
  }

  # AWS supports no resource for it; each secret in a batch needs GetSecretValue as well.
  dynamic "statement" {
    for_each = each.value.batches ? [true] : []

    content {
      sid       = "ReadBatches"
      actions   = ["secretsmanager:BatchGetSecretValue"]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = length(var.secret_kms_key_arns) == 0 ? [] : [each.value.kms_actions]

    content {
      sid       = "SecretsKeys"
      actions   = statement.value
      resources = var.secret_kms_key_arns

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = [for region in each.value.stores ? local.store_regions : [local.region] : "secretsmanager.${region}.amazonaws.com"]
      }
    }
  }

  dynamic "statement" {
    for_each = each.value.sweeps && var.adoption_gate ? [true] : []

    content {
      sid       = "ReadTrail"
      actions   = ["cloudtrail:LookupEvents"]
      resources = ["*"]
    }
  }

  # An event does not say whether its secret is managed; metadata only, no values.
  dynamic "statement" {
    for_each = each.key == "sweep" && var.verify_changes ? [true] : []

    content {
      sid       = "DescribeChanges"
      actions   = ["secretsmanager:DescribeSecret"]
      resources = [each.value.stores ? local.secrets_anywhere : local.secrets]

      dynamic "condition" {
        for_each = each.value.stores ? [local.store_regions] : []

        content {
          test     = "StringEquals"
          variable = "aws:RequestedRegion"
          values   = condition.value
        }
      }
    }
  }

  dynamic "statement" {
    for_each = each.value.queue == null ? [] : [each.value.queue]

    content {
      sid       = statement.value.sid
      actions   = statement.value.actions
      resources = [local.queue_arn]
    }
  }

  dynamic "statement" {
    for_each = each.value.events && var.event_bus_name != null ? [var.event_bus_name] : []

    content {
      sid       = "SendEvents"
      actions   = ["events:PutEvents"]
      resources = ["arn:${local.partition}:events:${local.region}:${local.account}:event-bus/${statement.value}"]

      condition {
        test     = "StringEquals"
        variable = "events:source"
        values   = ["infobip-key-rotator"]
      }
    }
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws/lambda/${var.name}-${each.key}:*"]
  }

  dynamic "statement" {
    for_each = var.xray ? [true] : []

    content {
      sid       = "Trace"
      actions   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
      resources = ["*"]
    }
  }
}
