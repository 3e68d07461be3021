# A value that others store is verified within seconds. Secrets Manager sends these events by itself, to the default bus;
# a lost one changes nothing, because the next sweep does the same.

resource "aws_cloudwatch_event_rule" "changes" {
  count = var.verify_changes ? 1 : 0

  name        = "${var.name}-changes"
  description = "Verifies the current value of a managed secret that another process stored"
  state       = var.schedule_enabled ? "ENABLED" : "DISABLED"
  tags        = var.tags

  event_pattern = jsonencode({
    source      = ["aws.secretsmanager"]
    detail-type = ["Secret Label Updated"]
    detail      = { labelUpdated = ["AWSCURRENT"] }
  })
}

resource "aws_cloudwatch_event_target" "sweep" {
  count = var.verify_changes ? 1 : 0

  rule      = aws_cloudwatch_event_rule.changes[0].name
  target_id = "sweep"
  arn       = aws_lambda_function.this["sweep"].arn

  retry_policy {
    maximum_event_age_in_seconds = 900
    maximum_retry_attempts       = 2
  }
}

resource "aws_lambda_permission" "changes" {
  count = var.verify_changes ? 1 : 0

  statement_id  = "SecretsManagerChanges"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["sweep"].function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.changes[0].arn
}
