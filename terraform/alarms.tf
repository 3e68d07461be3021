# Every alarm says what to do. The rotator's own metrics have one dimension, the deployment.

locals {
  alarm_actions = concat([aws_sns_topic.alarms.arn], var.alarm_actions)

  # The defaults of the alarms below. The metrics of sweeps, problems, failures and dry runs are counted from
  # audit lines (logs.tf); the functions write the others, in CloudWatch's embedded metric format.
  counted = {
    namespace  = var.metric_namespace
    dimensions = { deployment = var.deployment }
    statistic  = "Sum"
    period     = 3600
    periods    = 1
    comparison = "GreaterThanOrEqualToThreshold"
    missing    = "notBreaching"
  }

  alarms = merge(
    {
      no-sweep = merge(local.counted, {
        description = "No sweep succeeded for ${var.sweep_alarm_hours} hours: accounts can't be swept, or actions fail. Read the logs of the sweep and worker functions; run rotator doctor."
        metric      = "rotator_sweeps_succeeded"
        periods     = var.sweep_alarm_hours
        comparison  = "LessThanThreshold"
        missing     = "breaching"
      })
      problems = merge(local.counted, {
        description = "A secret needs fixing, work is overdue, or an account can't be swept. Search the logs for alert.raised; run rotator plan."
        metric      = "rotator_problems"
      })
      # A separate alarm: an open alert keeps the one above raised, which would mask a new failure.
      failures = merge(local.counted, {
        description = "A rotation or a revocation failed. Search the logs for rotation.failed and revocation.failed; run rotator plan."
        metric      = "rotator_failures"
      })
      dead-letters = merge(local.counted, {
        description = "An account could not be swept several times in a row. Read the worker's log, fix the cause, then purge the dead-letter queue: the next sweep sends the account again."
        namespace   = "AWS/SQS"
        metric      = "ApproximateNumberOfMessagesVisible"
        dimensions  = { QueueName = aws_sqs_queue.dead.name }
        statistic   = "Maximum"
        period      = 300
      })
      keys-expiring = merge(local.counted, {
        description = "A key expires in less than 7 days. Run rotator plan to see why it was not rotated."
        metric      = "rotator_keys_expiring_7d"
        statistic   = "Maximum"
      })
      revocations-overdue = merge(local.counted, {
        description = "An old key is still enabled after its grace period. Run rotator plan to see why it was not revoked."
        metric      = "rotator_revocations_overdue"
        statistic   = "Maximum"
      })
      rotations-overdue = merge(local.counted, {
        description = "A rotation is overdue by a day (or 10% of the key's lifetime, if less). Run rotator plan: its overdue alert has the cause."
        metric      = "rotator_rotations_overdue"
        statistic   = "Maximum"
      })
      daily-limit-reached = merge(local.counted, {
        description = "An account has no creates left for scheduled rotations today. Run rotator forecast to see what can't be rotated in time."
        metric      = "rotator_creates_left"
        statistic   = "Minimum"
        comparison  = "LessThanThreshold"
      })
    },
    {
      for name, metric in { dry-run = "rotator_dry_runs" } : name => merge(local.counted, {
        description = "Scheduled sweeps have been in dry-run for 7 days: no key is rotated or revoked. Review a plan, then turn off dry-run and deploy."
        metric      = metric
        period      = 86400
        periods     = 7
      }) if var.dry_run
    },
    {
      for function in keys(local.functions) : "${function}-errors" => merge(local.counted, {
        description = "The function ${var.name}-${function} failed. See its log for the cause and the fix."
        namespace   = "AWS/Lambda"
        metric      = "Errors"
        dimensions  = { FunctionName = "${var.name}-${function}" }
        period      = 300
      })
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
  threshold           = 1
  treat_missing_data  = each.value.missing
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
  tags                = var.tags
}
