# One message per account. FIFO: messages of one account (one group) are never processed in parallel.

locals {
  # The worker's timeout and a minute: a message does not come back while it is processed, and a failed account is retried,
  # then becomes a dead letter, before the next scheduled sweep, whose message would wait behind it.
  visibility_timeout = var.worker_timeout + 60
}

resource "aws_sqs_queue" "accounts" {
  name                       = "${var.name}-accounts.fifo"
  fifo_queue                 = true
  visibility_timeout_seconds = local.visibility_timeout
  # A message that waited this long is stale: later sweeps have sent the same account again.
  message_retention_seconds = 14400
  # Messages contain only account names, so SQS's own encryption is enough and no role needs a key.
  sqs_managed_sse_enabled = true
  tags                    = var.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = var.max_receive_count
  })
}

resource "aws_sqs_queue" "dead" {
  name                      = "${var.name}-accounts-dead.fifo"
  fifo_queue                = true
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
  tags                      = var.tags
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  queue_url = aws_sqs_queue.dead.url

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.accounts.arn]
  })
}

data "aws_iam_policy_document" "queue" {
  for_each = { accounts = aws_sqs_queue.accounts.arn, dead = aws_sqs_queue.dead.arn }

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [each.value]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "this" {
  for_each = { accounts = aws_sqs_queue.accounts.url, dead = aws_sqs_queue.dead.url }

  queue_url = each.value
  policy    = data.aws_iam_policy_document.queue[each.key].json
}

resource "aws_lambda_event_source_mapping" "accounts" {
  event_source_arn        = aws_sqs_queue.accounts.arn
  function_name           = aws_lambda_function.this["worker"].arn
  batch_size              = 1
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  scaling_config {
    maximum_concurrency = var.worker_concurrency
  }
}
