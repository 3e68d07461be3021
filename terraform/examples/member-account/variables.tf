variable "rotator_role_arn" {
  description = "The roles of the rotator's functions, such as arn:aws:iam::123456789012:role/infobip-key-rotator-prod-*, or the daemon's role. Null creates no role."
  type        = string
  default     = null

  validation {
    condition     = var.rotator_role_arn == null || can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\\w+=,.@/*-]{2,}$", var.rotator_role_arn))
    error_message = "rotator_role_arn must be the ARN of a role, with * for a part of its name, or null."
  }

  validation {
    condition     = var.rotator_role_arn == null || var.external_id != null
    error_message = "rotator_role_arn requires external_id."
  }
}

variable "external_id" {
  description = "The rotator's external_id (ROTATOR_EXTERNAL_ID): only a caller that knows it can use the role."
  type        = string
  default     = null

  validation {
    condition     = var.external_id == null ? true : can(regex("^[\\w+=,.@:/-]{2,}$", var.external_id)) && length(var.external_id) <= 1224
    error_message = "external_id must have 2 to 1224 letters, digits and _ + = , . @ : / -."
  }
}

variable "event_bus_arn" {
  description = "The rotator's output store_bus_arn (StoreBusArn). Null forwards no events; the next sweep then verifies new values."
  type        = string
  default     = null

  validation {
    condition     = var.event_bus_arn == null || can(regex("^arn:aws[a-z-]*:events:[a-z0-9-]+:[0-9]{12}:event-bus/[A-Za-z0-9._/-]{1,256}$", var.event_bus_arn))
    error_message = "event_bus_arn must be the ARN of an event bus, or null."
  }
}

variable "secret_kms_key_arns" {
  description = "Customer managed keys that encrypt the managed secrets of this account."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.secret_kms_key_arns : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))])
    error_message = "secret_kms_key_arns must contain ARNs of KMS keys (arn:aws:kms:<region>:<account>:key/<id>)."
  }
}

variable "adoption_gate" {
  description = "Lets the rotator read CloudTrail's event history here, which the tag rotator:gate=adoption requires."
  type        = bool
  default     = false
  nullable    = false
}
