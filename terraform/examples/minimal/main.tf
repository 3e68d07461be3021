# The rotator alone, in dry-run: nothing is rotated until dry_run = false.

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
  description = "The zip that \"make package\" writes."
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
  description = "A key has leaked: fill in the secret and the reason, and run it."
  value       = module.rotator.emergency_command
}
