output "mode" {
  description = "Whether scheduled sweeps change anything."
  value       = module.rotator.mode
}

output "emergency_command" {
  description = "Command to revoke a leaked key: fill in secret and reason, then run it."
  value       = module.rotator.emergency_command
}

output "plan_command" {
  description = "Command that prints counts of what a sweep would do."
  value       = module.rotator.plan_command
}

output "alarm_topic_arn" {
  description = "Topic of alarms and events."
  value       = module.rotator.alarm_topic_arn
}
