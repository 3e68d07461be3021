output "function_arns" {
  description = "ARNs of the functions, by name: sweep, worker, revoke, rotation."
  value       = { for name, function in aws_lambda_function.this : name => function.arn }
}

output "role_arns" {
  description = "ARNs of the functions' roles, by name, and of the schedule's."
  value       = merge({ for name, role in aws_iam_role.function : name => role.arn }, { schedule = aws_iam_role.schedule.arn })
}

output "rotation_function_arn" {
  description = "For aws_secretsmanager_secret_rotation and aws secretsmanager rotate-secret --rotation-lambda-arn."
  value       = aws_lambda_function.this["rotation"].arn
  # Secrets Manager rejects a function that it may not invoke.
  depends_on = [aws_lambda_permission.rotation]
}

output "queue_arn" {
  description = "ARN of the queue that receives one message per account."
  value       = aws_sqs_queue.accounts.arn
}

output "dead_letter_queue_url" {
  description = "URL of the queue of accounts that could not be swept."
  value       = aws_sqs_queue.dead.url
}

output "schedule_arn" {
  description = "ARN of the schedule."
  value       = aws_scheduler_schedule.sweep.arn
}

output "store_bus_arn" {
  description = "ARN of the event bus to which stores in other AWS accounts and regions forward new values (examples/member-account), or null."
  value       = one(aws_cloudwatch_event_bus.stores[*].arn)
}

output "alarm_topic_arn" {
  description = "ARN of the topic for alarms and events."
  value       = aws_sns_topic.alarms.arn
}

output "alarm_arns" {
  description = "ARNs of the alarms, by name."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.this : name => alarm.arn }
}

output "dashboard_arn" {
  description = "ARN of the dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_arn
}

output "log_group_names" {
  description = "Log groups of the functions, by name; audit lines are there."
  value       = { for name, group in aws_cloudwatch_log_group.function : name => group.name }
}

output "emergency_command" {
  description = "Command to revoke a leaked key: fill in secret and reason, then run it (AWS CLI v2)."
  value       = "aws lambda invoke --region ${local.region} --function-name ${aws_lambda_function.this["revoke"].function_name} --cli-binary-format raw-in-base64-out --cli-read-timeout 310 --payload '{\"secret_id\":\"SECRET\",\"reason\":\"WHY\",\"incident\":\"INCIDENT\",\"actor\":\"YOU\"}' answer.json; cat answer.json"
}

# It waits longer than any function may take (900 s).
output "plan_command" {
  description = "Command that prints counts of what a sweep would do; details are in its log (AWS CLI v2)."
  value       = "aws lambda invoke --region ${local.region} --function-name ${aws_lambda_function.this["sweep"].function_name} --cli-binary-format raw-in-base64-out --cli-read-timeout 910 --payload '{\"dry_run\":true}' answer.json; cat answer.json"
}

output "mode" {
  description = "Whether scheduled sweeps change anything."
  value = !var.schedule_enabled ? "STOPPED: the schedule is disabled; nothing is swept." : (
    var.dry_run ? join(" ", [
      "DRY RUN: scheduled sweeps plan and report but change nothing.",
      "Read a plan (plan_command, or rotator plan), then set dry_run = false and apply.",
    ]) : "LIVE: scheduled sweeps rotate and revoke keys (${var.schedule_expression})."
  )
}
