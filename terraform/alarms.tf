# Every alarm names what to do. Metrics of the rotator's own have one dimension, the deployment.

locals {
  alarm_actions = concat([aws_sns_topic.alarms.arn], var.alarm_actions)

  own = { deployment = var.deployment }

  # rotator_sweeps_succeeded and rotator_problems are counted from audit lines (logs.tf); the others are written by the
  # functions themselves, in CloudWatch's embedded metric format.
  alarms = merge(
    {
      no-sweep = {
        description = "No sweep succeeded for ${var.sweep_alarm_hours} hours: accounts can't be swept, or actions fail. Read the logs of the sweep and worker functions; run rotator doctor."
        namespace   = var.metric_namespace
        metric      = "rotator_sweeps_succeeded"
        dimensions  = local.own
        statistic   = "Sum"
        period      = 3600
        periods     = var.sweep_alarm_hours
        comparison  = "LessThanThreshold"
        threshold   = 1
        missing     = "breaching"
      }
      problems = {
        description = "A rotation or revocation failed, or a secret needs fixing. Search the logs for alert.raised, rotation.failed and revocation.failed; run rotator plan."
        namespace   = var.metric_namespace
        metric      = "rotator_problems"
        dimensions  = local.own
        statistic   = "Sum"
        period      = 3600
        periods     = 1
        comparison  = "GreaterThanOrEqualToThreshold"
        threshold   = 1
        missing     = "notBreaching"
      }
      dead-letters = {
        description = "An account could not be swept, several times in a row. Read the worker's log, fix the cause, then purge the dead-letter queue: the next sweep sends the account again."
        namespace   = "AWS/SQS"
        metric      = "ApproximateNumberOfMessagesVisible"
        dimensions  = { QueueName = aws_sqs_queue.dead.name }
        statistic   = "Maximum"
        period      = 300
        periods     = 1
        comparison  = "GreaterThanOrEqualToThreshold"
        threshold   = 1
        missing     = "notBreaching"
      }
      keys-expiring = {
        description = "A key has less than 7 days left. Run rotator plan: it says why the key was not rotated."
        namespace   = var.metric_namespace
        metric      = "rotator_keys_expiring_7d"
        dimensions  = local.own
        statistic   = "Maximum"
        period      = 3600
        periods     = 1
        comparison  = "GreaterThanOrEqualToThreshold"
        threshold   = 1
        missing     = "notBreaching"
      }
      revocations-overdue = {
        description = "An old key lives on although its grace is over. Run rotator plan: it says why the key was not revoked."
        namespace   = var.metric_namespace
        metric      = "rotator_revocations_overdue"
        dimensions  = local.own
        statistic   = "Maximum"
        period      = 3600
        periods     = 1
        comparison  = "GreaterThanOrEqualToThreshold"
        threshold   = 1
        missing     = "notBreaching"
      }
      rotations-overdue = {
        description = "A rotation was due a day ago, or a tenth of the key's lifetime if that is shorter, and has not happened. Run rotator plan: its overdue alert says why."
        namespace   = var.metric_namespace
        metric      = "rotator_rotations_overdue"
        dimensions  = local.own
        statistic   = "Maximum"
        period      = 3600
        periods     = 1
        comparison  = "GreaterThanOrEqualToThreshold"
        threshold   = 1
        missing     = "notBreaching"
      }
      budget-exhausted = {
        description = "An account's daily limit leaves nothing for scheduled rotations. Run rotator forecast: it says what can't be rotated in time."
        namespace   = var.metric_namespace
        metric      = "rotator_creates_left"
        dimensions  = local.own
        statistic   = "Minimum"
        period      = 3600
        periods     = 1
        comparison  = "LessThanThreshold"
        threshold   = 1
        missing     = "notBreaching"
      }
    },
    {
      for function in keys(local.functions) : "${function}-errors" => {
        description = "The function ${var.name}-${function} failed. Its log says why and what to do."
        namespace   = "AWS/Lambda"
        metric      = "Errors"
        dimensions  = { FunctionName = "${var.name}-${function}" }
        statistic   = "Sum"
        period      = 300
        periods     = 1
        comparison  = "GreaterThanOrEqualToThreshold"
        threshold   = 1
        missing     = "notBreaching"
      }
    },
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.periods
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
  tags                = var.tags
}
