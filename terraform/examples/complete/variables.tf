variable "stage" {
  description = "Stage, part of names and of the deployment."
  type        = string
  default     = "prod"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,15}$", var.stage))
    error_message = "stage has 1 to 16 lower-case letters, digits and hyphens."
  }
}

variable "package_path" {
  description = "The zip that \"make package\" writes."
  type        = string
  default     = "../../../dist/rotator-lambda.zip"
}

variable "dry_run" {
  description = "Sweeps plan and change nothing."
  type        = bool
  default     = true
}

variable "alarm_emails" {
  description = "Addresses that alarms are sent to."
  type        = list(string)
  default     = ["on-call@example.com"]
}

variable "voice_api_key" {
  description = "The Infobip API key that prod/voice/alerts starts with. Give it as TF_VAR_voice_api_key; it is written once and is in no state."
  type        = string
  sensitive   = true
}
