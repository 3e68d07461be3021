output "mode" {
  description = "Whether scheduled sweeps change anything."
  value       = module.rotator.mode
}

output "emergency_command" {
  description = "A key has leaked: fill in the secret and the reason, and run it."
  value       = module.rotator.emergency_command
}

output "plan_command" {
  description = "What a sweep would do."
  value       = module.rotator.plan_command
}

output "alarm_topic_arn" {
  description = "Topic of alarms and events."
  value       = module.rotator.alarm_topic_arn
}
