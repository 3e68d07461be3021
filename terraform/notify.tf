# Where alarms and events go. Nothing that is sent there contains a secret value.

resource "aws_sns_topic" "alarms" {
  #checkov:skip=CKV_AWS_26:Alarms and events contain no secret values, and CloudWatch can't publish with AWS's own key; kms_key_arn encrypts the topic

  name              = "${var.name}-alarms"
  kms_master_key_id = var.kms_key_arn
  tags              = var.tags
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "Alarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }

  # Without a condition: EventBridge gives SNS no source, so that a condition would block everything.
  dynamic "statement" {
    for_each = var.event_bus_name == null ? [] : [true]

    content {
      sid       = "Events"
      actions   = ["sns:Publish"]
      resources = [aws_sns_topic.alarms.arn]

      principals {
        type        = "Service"
        identifiers = ["events.amazonaws.com"]
      }
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

resource "aws_sns_topic_subscription" "email" {
  for_each = toset(var.alarm_emails)

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

# What an operator must know immediately. Consumers create their own rules for "API Key Rotated".
resource "aws_cloudwatch_event_rule" "rotator" {
  count = var.event_bus_name == null ? 0 : 1

  name           = "${var.name}-events"
  description    = "Failed rotations and emergency revocations of Infobip keys"
  event_bus_name = var.event_bus_name
  tags           = var.tags

  event_pattern = jsonencode({
    source      = ["infobip-key-rotator"]
    detail-type = ["Rotation Failed", "Emergency Revocation"]
  })
}

resource "aws_cloudwatch_event_target" "alarms" {
  count = var.event_bus_name == null ? 0 : 1

  rule           = aws_cloudwatch_event_rule.rotator[0].name
  event_bus_name = var.event_bus_name
  target_id      = "alarms"
  arn            = aws_sns_topic.alarms.arn
}
