resource "aws_cloudwatch_log_group" "function" {
  for_each = local.functions

  #checkov:skip=CKV_AWS_158:Logs contain no secret values; kms_key_arn encrypts them with your own key
  #checkov:skip=CKV_AWS_338:The default is 400 days; the operator may choose fewer

  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

# Audit lines become metrics; the functions need no permission or call for it.
resource "aws_cloudwatch_log_metric_filter" "sweeps_succeeded" {
  for_each = toset(["sweep", "worker"])

  name           = "${var.name}-${each.key}-sweeps-succeeded"
  log_group_name = aws_cloudwatch_log_group.function[each.key].name
  pattern        = "{ $.event = \"sweep.completed\" && $.outcome = \"success\" }"

  metric_transformation {
    name       = "rotator_sweeps_succeeded"
    namespace  = var.metric_namespace
    value      = "1"
    dimensions = { deployment = "$.deployment" }
  }
}

resource "aws_cloudwatch_log_metric_filter" "problems" {
  for_each = local.functions

  name           = "${var.name}-${each.key}-problems"
  log_group_name = aws_cloudwatch_log_group.function[each.key].name
  pattern        = "{ $.event = \"alert.raised\" && $.outcome = \"failure\" }"

  metric_transformation {
    name       = "rotator_problems"
    namespace  = var.metric_namespace
    value      = "1"
    dimensions = { deployment = "$.deployment" }
  }
}

# The sweep function itself changes no key.
resource "aws_cloudwatch_log_metric_filter" "failures" {
  for_each = toset(["worker", "revoke", "rotation"])

  name           = "${var.name}-${each.key}-failures"
  log_group_name = aws_cloudwatch_log_group.function[each.key].name
  pattern        = "{ $.event = \"rotation.failed\" || $.event = \"revocation.failed\" }"

  metric_transformation {
    name       = "rotator_failures"
    namespace  = var.metric_namespace
    value      = "1"
    dimensions = { deployment = "$.deployment" }
  }
}

resource "aws_cloudwatch_log_metric_filter" "dry_runs" {
  name           = "${var.name}-sweep-dry-runs"
  log_group_name = aws_cloudwatch_log_group.function["sweep"].name
  pattern        = "{ $.event = \"sweep.completed\" && $.dry_run IS TRUE }"

  metric_transformation {
    name       = "rotator_dry_runs"
    namespace  = var.metric_namespace
    value      = "1"
    dimensions = { deployment = "$.deployment" }
  }
}
