output "role_arn" {
  description = "For the rotator's stores, with @ and a region after it; null if no role was created."
  value       = one(aws_iam_role.rotator[*].arn)
}
