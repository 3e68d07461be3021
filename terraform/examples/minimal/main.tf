# Only the rotator, in dry-run: nothing is rotated until dry_run = false.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
  }
}

variable "package_path" {
  description = "The zip file written by \"make package\"."
  type        = string
  default     = "../../../dist/rotator-lambda.zip"
}

module "rotator" {
  source = "../.."

  package_path = var.package_path
}

output "mode" {
  description = "Whether scheduled sweeps change anything."
  value       = module.rotator.mode
}

output "emergency_command" {
  description = "Command to revoke a leaked key: fill in secret and reason, then run it."
  value       = module.rotator.emergency_command
}
