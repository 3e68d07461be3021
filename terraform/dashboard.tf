locals {
  # Width and height in CloudWatch's grid of 24 columns; two graphs per row.
  graphs = [
    {
      title   = "Sweeps that succeeded"
      metrics = [[var.metric_namespace, "rotator_sweeps_succeeded", "deployment", var.deployment, { stat = "Sum" }]]
    },
    {
      title = "Errors to fix; failed rotations and revocations"
      metrics = [
        [var.metric_namespace, "rotator_problems", "deployment", var.deployment, { stat = "Sum" }],
        [var.metric_namespace, "rotator_failures", "deployment", var.deployment, { stat = "Sum" }],
      ]
    },
    {
      title = "Keys with less than 7 days; rotations and revocations overdue"
      metrics = [
        [var.metric_namespace, "rotator_keys_expiring_7d", "deployment", var.deployment, { stat = "Maximum" }],
        [var.metric_namespace, "rotator_rotations_overdue", "deployment", var.deployment, { stat = "Maximum" }],
        [var.metric_namespace, "rotator_revocations_overdue", "deployment", var.deployment, { stat = "Maximum" }],
      ]
    },
    {
      title   = "Creates left today for scheduled work"
      metrics = [[var.metric_namespace, "rotator_creates_left", "deployment", var.deployment, { stat = "Minimum" }]]
    },
    {
      title   = "Errors of the functions"
      metrics = [for function in keys(local.functions) : ["AWS/Lambda", "Errors", "FunctionName", "${var.name}-${function}", { stat = "Sum" }]]
    },
    {
      title = "Accounts waiting, and dead letters"
      metrics = [
        for queue in [aws_sqs_queue.accounts.name, aws_sqs_queue.dead.name] :
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue, { stat = "Maximum" }]
      ]
    },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = concat(
      [
        for index, graph in local.graphs : {
          type   = "metric"
          x      = 12 * (index % 2)
          y      = 6 * floor(index / 2)
          width  = 12
          height = 6
          properties = {
            title   = graph.title
            region  = local.region
            view    = "timeSeries"
            period  = 3600
            metrics = graph.metrics
          }
        }
      ],
      [{
        type   = "log"
        x      = 0
        y      = 18
        width  = 24
        height = 8
        properties = {
          title  = "What was changed, and what went wrong"
          region = local.region
          view   = "table"
          query = join(" | ", [
            join(" | ", [for function in keys(local.functions) : "SOURCE '${aws_cloudwatch_log_group.function[function].name}'"]),
            "fields @timestamp, event, outcome, account, secret, key_id, reason, error",
            "filter outcome != 'attempt' and event not in ['sweep.started', 'sweep.completed']",
            "sort @timestamp desc",
            "limit 100",
          ])
        }
      }],
    )
  })
}
