# Plans only, so that neither credentials nor a network are needed; what AWS would answer is given below.
provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "testing"
  secret_key                  = "testing"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = data.aws_partition.current
  values = { partition = "aws" }
}

override_data {
  target = data.aws_region.current
  values = { region = "eu-central-1" }
}

variables {
  name         = "rotator"
  package_path = "tests/stand-in.zip"
}

run "first_deployment_rotates_nothing" {
  command = plan

  assert {
    condition     = aws_lambda_function.this["sweep"].environment[0].variables.ROTATOR_DRY_RUN == "true" && aws_lambda_function.this["worker"].environment[0].variables.ROTATOR_DRY_RUN == "true"
    error_message = "The schedule must start in dry-run."
  }

  assert {
    condition     = !can(aws_lambda_function.this["revoke"].environment[0].variables.ROTATOR_DRY_RUN)
    error_message = "An emergency is never a dry run."
  }

  assert {
    condition     = startswith(output.mode, "DRY RUN")
    error_message = "The outputs must say that nothing is rotated."
  }

  assert {
    condition     = strcontains(output.emergency_command, "--function-name rotator-revoke ")
    error_message = "The outputs must hold the emergency command."
  }
}

run "package_from_s3" {
  command = plan

  variables {
    package_path = null
    package_s3   = { bucket = "packages", key = "rotator-0.1.0.zip", version = "v1" }
  }

  assert {
    condition     = alltrue([for each in aws_lambda_function.this : each.s3_bucket == "packages" && each.s3_key == "rotator-0.1.0.zip" && each.s3_object_version == "v1" && each.filename == null])
    error_message = "Every function must run the object in S3."
  }
}

run "live" {
  command = plan

  variables {
    dry_run = false
  }

  assert {
    condition     = startswith(output.mode, "LIVE")
    error_message = "The outputs must say that keys are rotated."
  }
}

run "stopped" {
  command = plan

  variables {
    dry_run          = false
    schedule_enabled = false
  }

  assert {
    condition     = aws_scheduler_schedule.sweep.state == "DISABLED" && aws_cloudwatch_event_rule.changes["changes"].state == "DISABLED" && startswith(output.mode, "STOPPED")
    error_message = "The brake must stop the schedule, and the outputs must say so."
  }
}

run "changes_off" {
  command = plan

  variables {
    verify_changes = false
  }

  assert {
    condition     = length(aws_cloudwatch_event_rule.changes) + length(aws_lambda_permission.changes) == 0 && !strcontains(data.aws_iam_policy_document.function["sweep"].json, "DescribeSecret")
    error_message = "Without verify_changes there must be no rule, and no permission to describe other secrets."
  }
}

run "stores" {
  command = plan

  variables {
    stores      = ["eu-central-1", "us-east-1", "arn:aws:iam::111122223333:role/rotator@home@eu-west-1"]
    external_id = "deployment/1"
  }

  assert {
    condition = { for name, function in aws_lambda_function.this : name => [
      try(function.environment[0].variables.ROTATOR_STORES, null), try(function.environment[0].variables.ROTATOR_EXTERNAL_ID, null)
      ] } == merge(
      { for name in ["sweep", "worker", "revoke"] : name => [join(" ", var.stores), "deployment/1"] },
      { rotation = [null, null] },
    )
    error_message = "Every function but rotation must know the stores."
  }

  assert {
    condition     = aws_cloudwatch_event_rule.changes["store-changes"].event_bus_name == "rotator-stores" && aws_cloudwatch_event_rule.changes["store-changes"].event_pattern == aws_cloudwatch_event_rule.changes["changes"].event_pattern
    error_message = "Forwarded events must start the same function."
  }

  assert {
    condition = jsondecode(data.aws_iam_policy_document.stores[0].json).Statement == [{
      Sid       = "Stores"
      Effect    = "Allow"
      Action    = "events:PutEvents"
      Resource  = "arn:aws:events:eu-central-1:123456789012:event-bus/rotator-stores"
      Principal = { AWS = "111122223333" }
      Condition = { "ForAllValues:StringEquals" = { "events:source" = "aws.secretsmanager" }, StringEquals = { "events:detail-type" = "Secret Label Updated" } }
    }]
    error_message = "Only these AWS accounts may put events, and only Secrets Manager's."
  }
}

run "stores_without_changes" {
  command = plan

  variables {
    stores         = ["eu-central-1", "arn:aws:iam::111122223333:role/rotator@eu-west-1"]
    verify_changes = false
  }

  assert {
    condition     = length(aws_cloudwatch_event_bus.stores) + length(aws_cloudwatch_event_rule.changes) == 0 && output.store_bus_arn == null
    error_message = "Without verify_changes no other AWS account may send anything."
  }
}

run "stopped_in_dry_run" {
  command = plan

  variables {
    schedule_enabled = false
  }

  assert {
    condition     = startswith(output.mode, "STOPPED")
    error_message = "The outputs must not speak of scheduled sweeps where there are none."
  }
}

run "timeouts" {
  command = plan

  variables {
    worker_timeout    = 900
    max_receive_count = 10
  }

  assert {
    condition     = aws_sqs_queue.accounts.visibility_timeout_seconds > aws_lambda_function.this["worker"].timeout
    error_message = "The queue's visibility timeout must be longer than the worker's timeout."
  }

  assert {
    condition     = aws_sqs_queue.accounts.message_retention_seconds > aws_sqs_queue.accounts.visibility_timeout_seconds * var.max_receive_count
    error_message = "A message must live long enough to become a dead letter."
  }
}

run "reserved_concurrency" {
  command = plan

  variables {
    reserve_concurrency = true
  }

  assert {
    condition     = { for name, function in aws_lambda_function.this : name => function.reserved_concurrent_executions if function.reserved_concurrent_executions != -1 } == { revoke = 2 }
    error_message = "Concurrency may be reserved for emergencies only."
  }
}

run "alarms" {
  command = plan

  assert {
    condition = toset(keys(aws_cloudwatch_metric_alarm.this)) == toset([
      "no-sweep", "problems", "failures", "dry-run", "dead-letters", "keys-expiring", "rotations-overdue", "revocations-overdue",
      "daily-limit-reached",
      "sweep-errors", "worker-errors", "revoke-errors", "rotation-errors",
    ])
    error_message = "An alarm is missing."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["no-sweep"].treat_missing_data == "breaching"
    error_message = "That nothing is heard of sweeps must ring."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["no-sweep"].period * aws_cloudwatch_metric_alarm.this["no-sweep"].evaluation_periods == 3 * 3600
    error_message = "The alarm must ring after three hours."
  }
}
