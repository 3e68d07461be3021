# A value that others store is verified within seconds. Secrets Manager sends these events by itself, to the default bus of
# the secret's AWS account and region; a lost one changes nothing, because the next sweep does the same. Other AWS accounts and
# regions forward theirs (examples/member-account) to a bus of its own: the default bus stays closed to other accounts.

locals {
  forwarded = var.verify_changes && length(var.stores) > 0
  change_rules = var.verify_changes ? merge(
    { changes = "default" },
    { for bus in aws_cloudwatch_event_bus.stores : "store-changes" => bus.name },
  ) : {}
}

resource "aws_cloudwatch_event_rule" "changes" {
  for_each = local.change_rules

  name           = "${var.name}-${each.key}"
  description    = "Verifies the current value of a managed secret that another process stored"
  event_bus_name = each.value
  state          = var.schedule_enabled ? "ENABLED" : "DISABLED"
  tags           = var.tags

  event_pattern = jsonencode({
    source      = ["aws.secretsmanager"]
    detail-type = ["Secret Label Updated"]
    detail      = { labelUpdated = ["AWSCURRENT"] }
  })
}

resource "aws_cloudwatch_event_target" "changes" {
  for_each = local.change_rules

  rule           = aws_cloudwatch_event_rule.changes[each.key].name
  event_bus_name = each.value
  target_id      = "sweep"
  arn            = aws_lambda_function.this["sweep"].arn

  retry_policy {
    maximum_event_age_in_seconds = 900
    maximum_retry_attempts       = 2
  }
}

resource "aws_lambda_permission" "changes" {
  for_each = local.change_rules

  statement_id  = each.key
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["sweep"].function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.changes[each.key].arn
}

resource "aws_cloudwatch_event_bus" "stores" {
  count = local.forwarded ? 1 : 0

  name        = "${var.name}-stores"
  description = "New values of secrets in other AWS accounts and regions"
  tags        = var.tags
}

# PutEvents refuses a source that starts with "aws.", so what arrives from these accounts was sent by Secrets Manager.
data "aws_iam_policy_document" "stores" {
  count = local.forwarded && length(local.store_roles) > 0 ? 1 : 0

  statement {
    sid       = "Stores"
    actions   = ["events:PutEvents"]
    resources = ["arn:${local.partition}:events:${local.region}:${local.account}:event-bus/${var.name}-stores"]

    principals {
      type        = "AWS"
      identifiers = distinct([for role in local.store_roles : split(":", role)[4]])
    }

    # As in EventBridge's own example policy: the source is a key with many values, one for each entry.
    condition {
      test     = "ForAllValues:StringEquals"
      variable = "events:source"
      values   = ["aws.secretsmanager"]
    }

    condition {
      test     = "StringEquals"
      variable = "events:detail-type"
      values   = ["Secret Label Updated"]
    }
  }
}

resource "aws_cloudwatch_event_bus_policy" "stores" {
  count = length(data.aws_iam_policy_document.stores)

  event_bus_name = aws_cloudwatch_event_bus.stores[0].name
  policy         = data.aws_iam_policy_document.stores[0].json
}
