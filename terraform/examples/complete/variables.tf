variable "stage" {
  description = "Stage: part of all names and of the deployment."
  type        = string
  default     = "prod"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,15}$", var.stage))
    error_message = "stage must have 1 to 16 lower-case letters, digits and hyphens."
  }
}

variable "package_path" {
  description = "The zip file written by \"make package\"."
  type        = string
  default     = "../../../dist/rotator-lambda.zip"
}

variable "dry_run" {
  description = "Scheduled sweeps plan and report but change nothing."
  type        = bool
  default     = true
}

variable "alarm_emails" {
  description = "E-mail addresses for alarms."
  type        = list(string)
  default     = ["on-call@example.com"]
}

variable "voice_api_key" {
  description = "The Infobip API key that prod/voice/alerts starts with. Set it as TF_VAR_voice_api_key; it is written once and not stored in the state."
  type        = string
  sensitive   = true
}
