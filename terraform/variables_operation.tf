# How the rotator is built and monitored.

variable "package_path" {
  description = "The zip file: of a release, or dist/rotator-lambda.zip as \"make package\" writes it. Use this or package_s3."
  type        = string
  default     = null

  validation {
    condition     = var.package_path == null ? true : endswith(var.package_path, ".zip") && fileexists(var.package_path)
    error_message = "package_path is not a zip file: set the path of a release's zip, or of dist/rotator-lambda.zip after \"make package\"."
  }

  validation {
    condition     = (var.package_path == null) != (var.package_s3 == null)
    error_message = "Set exactly one of package_path and package_s3."
  }
}

variable "package_s3" {
  description = "The zip file as an S3 object in this region. Upload a new version under a key that contains the version, or set the object's version."
  type = object({
    bucket  = string
    key     = string
    version = optional(string)
  })
  default = null

  validation {
    condition     = var.package_s3 == null ? true : length(var.package_s3.bucket) >= 3 && endswith(var.package_s3.key, ".zip")
    error_message = "package_s3 must name a bucket and the key of a zip file."
  }
}

variable "sweep_timeout" {
  description = "Seconds that the sweep function may take; it lists the secrets and sends one message per account."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.sweep_timeout >= 60 && var.sweep_timeout <= 900 && floor(var.sweep_timeout) == var.sweep_timeout
    error_message = "sweep_timeout must be a whole number of seconds from 60 to 900."
  }
}

variable "worker_timeout" {
  description = "Seconds that one account's sweep may take. No rotation starts in the last 60. The queue's visibility timeout is a minute longer."
  type        = number
  default     = 600
  nullable    = false

  validation {
    condition     = var.worker_timeout >= 120 && var.worker_timeout <= 900 && floor(var.worker_timeout) == var.worker_timeout
    error_message = "worker_timeout must be a whole number of seconds from 120 to 900."
  }
}

variable "memory_size" {
  description = "Memory of each function in MB. CPU scales with it, so more memory also shortens cold starts."
  type        = number
  default     = 512
  nullable    = false

  validation {
    condition     = var.memory_size >= 256 && var.memory_size <= 3008 && floor(var.memory_size) == var.memory_size
    error_message = "memory_size must be a whole number of MB from 256 to 3008."
  }
}

variable "worker_concurrency" {
  description = "Infobip accounts that are swept in parallel (AWS allows no fewer than 2)."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.worker_concurrency >= 2 && var.worker_concurrency <= 100 && floor(var.worker_concurrency) == var.worker_concurrency
    error_message = "worker_concurrency must be a whole number from 2 to 100."
  }
}

variable "reserve_concurrency" {
  description = "Reserves 2 executions for the revoke function, so emergencies never wait for other functions. Requires 102 unreserved executions in the AWS account; a new one often has 10."
  type        = bool
  default     = false
  nullable    = false
}

variable "max_receive_count" {
  description = "Receives per message before it moves to the dead-letter queue. The next scheduled sweep sends a new one anyway."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.max_receive_count >= 1 && var.max_receive_count <= 10 && floor(var.max_receive_count) == var.max_receive_count
    error_message = "max_receive_count must be a whole number from 1 to 10."
  }
}

variable "xray" {
  description = "Enables AWS X-Ray tracing."
  type        = bool
  default     = false
  nullable    = false
}

variable "kms_key_arn" {
  description = "Customer managed KMS key for the log groups, the functions' environment and the alarm topic. Its policy must let logs.<region>.amazonaws.com, cloudwatch.amazonaws.com and events.amazonaws.com use it. Null uses AWS's own encryption."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key (arn:aws:kms:<region>:<account>:key/<id>), or null."
  }
}

variable "log_retention_days" {
  description = "Retention of logs, which contain the audit lines, in days."
  type        = number
  default     = 400
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a number of days that CloudWatch Logs supports: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "alarm_emails" {
  description = "E-mail addresses for alarms and events. Each receives a link to confirm."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", address))])
    error_message = "alarm_emails must contain e-mail addresses."
  }
}

variable "alarm_actions" {
  description = "Additional ARNs to notify when an alarm fires or clears, besides the module's own topic."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.alarm_actions : startswith(arn, "arn:")])
    error_message = "alarm_actions must contain ARNs."
  }
}

variable "sweep_alarm_hours" {
  description = "Hours without a successful sweep after which the no-sweep alarm fires."
  type        = number
  default     = 3
  nullable    = false

  validation {
    # CloudWatch evaluates at most seven days if the period is an hour.
    condition     = var.sweep_alarm_hours >= 1 && var.sweep_alarm_hours <= 168 && floor(var.sweep_alarm_hours) == var.sweep_alarm_hours
    error_message = "sweep_alarm_hours must be a whole number from 1 to 168."
  }
}

variable "metric_namespace" {
  description = "CloudWatch namespace of the rotator's own metrics."
  type        = string
  default     = "InfobipKeyRotator"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9._/#-]{1,255}$", var.metric_namespace)) && !startswith(var.metric_namespace, "AWS/")
    error_message = "metric_namespace must have 1 to 255 letters, digits and . _ / # - and must not start with AWS/."
  }
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary for every role, if your organisation requires one."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of an IAM policy, or null."
  }
}

variable "tags" {
  description = "Tags of every resource. The rotator's own tags (rotator:...) belong on secrets only."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(key, "rotator:") && !startswith(key, "aws:")])
    error_message = "tags must not contain a key that starts with rotator: or aws:."
  }
}
