# What the rotator does. How it is built and watched is in variables_operation.tf.

variable "name" {
  description = "Prefix of every resource's name. Two deployments in one AWS account and region require different names."
  type        = string
  default     = "infobip-key-rotator"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9-]{0,39}$", var.name))
    error_message = "name must have 1 to 40 letters, digits and hyphens and start with a letter."
  }
}

variable "deployment" {
  description = "Part of each key's name at Infobip (ROTATOR_DEPLOYMENT). Two deployments on one Infobip account never touch each other's keys. Do not change it later: keys created under the old name would belong to another deployment."
  type        = string
  default     = "default"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$", var.deployment))
    error_message = "deployment must have 1 to 32 letters, digits, dots, underscores and hyphens and start with a letter or digit."
  }
}

variable "dry_run" {
  description = "Scheduled sweeps plan and report but change nothing. Set to false after you have reviewed a plan. Emergency revocations and rotations started by Secrets Manager are never dry runs."
  type        = bool
  default     = true
  nullable    = false
}

variable "verify_changes" {
  description = "Verifies within seconds a value that another process stores in a managed secret, by Secrets Manager's event. False verifies it at the next sweep."
  type        = bool
  default     = true
  nullable    = false
}

variable "stores" {
  description = "Where the secrets are, if in several AWS accounts or regions (ROTATOR_STORES): regions and ROLE_ARN@REGION, this region first. Management secrets are in this region."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for store in var.stores : can(regex("^(arn:aws[a-z-]*:iam::[0-9]{12}:role/[\\w+=,.@/-]{1,512}@)?[a-z]{2}(-[a-z]+)+-[0-9]$", store))])
    error_message = "stores must contain regions and ROLE_ARN@REGION, such as arn:aws:iam::111122223333:role/infobip-key-rotator@eu-west-1."
  }

  validation {
    condition     = try(var.stores[0], local.region) == local.region
    error_message = "The first of stores must be the region of this deployment, which contains the management secrets."
  }

  validation {
    condition     = length(distinct([for store in var.stores : join("@", [try(split(":", store)[4], ""), regex("[a-z0-9-]+$", store)])])) == length(var.stores)
    error_message = "stores must contain each AWS account and region once."
  }
}

variable "external_id" {
  description = "The external id in the trust policies of the roles in stores (ROTATOR_EXTERNAL_ID)."
  type        = string
  default     = null

  validation {
    condition     = var.external_id == null ? true : can(regex("^[\\w+=,.@:/-]{2,}$", var.external_id)) && length(var.external_id) <= 1224
    error_message = "external_id must have 2 to 1224 letters, digits and _ + = , . @ : / -, or be null."
  }
}

variable "daily_limit" {
  description = "Creates, and likewise updates, that Infobip allows per account in 24 hours (ROTATOR_DAILY_LIMIT)."
  type        = number
  default     = 40
  nullable    = false

  validation {
    condition     = var.daily_limit >= 1 && var.daily_limit <= 100000 && floor(var.daily_limit) == var.daily_limit
    error_message = "daily_limit must be a whole number from 1 to 100000."
  }
}

variable "reserve" {
  description = "Creates and updates of the daily limit that scheduled work leaves for emergencies (ROTATOR_RESERVE)."
  type        = number
  default     = 8
  nullable    = false

  validation {
    condition     = var.reserve >= 0 && floor(var.reserve) == var.reserve
    error_message = "reserve must be a whole number, 0 or more."
  }

  validation {
    condition     = var.reserve < var.daily_limit
    error_message = "reserve must be less than daily_limit, or nothing is left for scheduled rotations."
  }
}

variable "log_level" {
  description = "Detail of the logs (ROTATOR_LOG_LEVEL). Audit lines are written at every level."
  type        = string
  default     = "info"
  nullable    = false

  validation {
    condition     = contains(["debug", "info", "warning", "error", "critical"], var.log_level)
    error_message = "log_level must be debug, info, warning, error or critical."
  }
}

variable "schedule_expression" {
  description = "When sweeps run: rate(1 hour), rate(30 minutes) or cron(0 * * * ? *). With another interval, set sweep_every; if less frequent than hourly, raise sweep_alarm_hours too."
  type        = string
  default     = "rate(1 hour)"
  nullable    = false

  validation {
    # AWS rejects "rate(1 hours)" and "rate(2 hour)", but only during the deployment.
    condition     = can(regex("^(rate\\((1 (minute|hour|day)|([2-9]|[1-9][0-9]+) (minutes|hours|days))\\)|cron\\([^()]+\\))$", var.schedule_expression))
    error_message = "schedule_expression must be rate(1 hour), rate(N minutes|hours|days) or cron(...)."
  }
}

variable "sweep_every" {
  description = "The interval of schedule_expression, 1m to 1d (ROTATOR_SWEEP_EVERY). Used to verify each value once a day."
  type        = string
  default     = "1h"
  nullable    = false

  validation {
    condition     = can(regex("^([0-9]+[smhd])+$", var.sweep_every))
    error_message = "sweep_every must be a duration such as 30m, 1h or 1d."
  }

  validation {
    condition = var.sweep_every == (
      endswith(var.schedule_expression, " days)") ? "1d" :
      try(join("", regex("^rate\\(([0-9]+) ([mhd])", var.schedule_expression)), var.sweep_every)
    )
    error_message = "sweep_every must be the interval of schedule_expression: 30m for rate(30 minutes), 1h for rate(1 hour), 1d for rate(1 day) and more."
  }
}

variable "schedule_enabled" {
  description = "Whether the schedule is enabled. If false, nothing is swept, emergency revocations still work, and the no-sweep alarm fires."
  type        = bool
  default     = true
  nullable    = false
}

variable "allowed_hosts" {
  description = "Hosts, *.example.com included, that a management secret's base_url may use in addition to *.api.infobip.com (ROTATOR_ALLOWED_HOSTS). The password and keys are sent there."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for host in var.allowed_hosts : can(regex("^(\\*\\.)?[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$", host))])
    error_message = "allowed_hosts must contain host names without scheme or port, with *. in front for a whole domain."
  }
}

variable "event_bus_name" {
  description = "Event bus of this AWS account and region that rotations are published to (ROTATOR_EVENT_BUS), such as \"default\". Null disables events."
  type        = string
  default     = null

  validation {
    condition     = var.event_bus_name == null || can(regex("^[A-Za-z0-9._/-]{1,256}$", var.event_bus_name))
    error_message = "event_bus_name must be the name (not the ARN) of an event bus, or null."
  }
}

variable "adoption_gate" {
  description = "Lets sweeps read CloudTrail's event history (cloudtrail:LookupEvents on *), which the tag rotator:gate=adoption requires."
  type        = bool
  default     = false
  nullable    = false
}

variable "secret_kms_key_arns" {
  description = "Customer managed KMS keys that encrypt the managed and management secrets. Not needed for secrets under aws/secretsmanager."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.secret_kms_key_arns : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))])
    error_message = "secret_kms_key_arns must contain ARNs of KMS keys (arn:aws:kms:<region>:<account>:key/<id>), not of aliases."
  }
}
