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
  package_path = "tests/stand-in.zip"
}

run "name_1" {
  command = plan

  variables {
    name = "1st"
  }

  expect_failures = [var.name]
}

run "name_2" {
  command = plan

  variables {
    name = "a_b"
  }

  expect_failures = [var.name]
}

run "deployment" {
  command = plan

  variables {
    deployment = "has:colon"
  }

  expect_failures = [var.deployment]
}

run "stores_1" {
  command = plan

  variables {
    stores = ["eu-central-1", "arn:aws:iam::111122223333:role/rotator"]
  }

  expect_failures = [var.stores]
}

run "stores_2" {
  command = plan

  variables {
    stores = ["us-east-1", "eu-central-1"]
  }

  expect_failures = [var.stores]
}

run "stores_3" {
  command = plan

  variables {
    stores = ["eu-central-1", "arn:aws:iam::111122223333:role/a@eu-west-1", "arn:aws:iam::111122223333:role/b@eu-west-1"]
  }

  expect_failures = [var.stores]
}

run "external_id" {
  command = plan

  variables {
    external_id = "two words"
  }

  expect_failures = [var.external_id]
}

run "daily_limit" {
  command = plan

  variables {
    daily_limit = 0
  }

  expect_failures = [var.daily_limit]
}

run "reserve_1" {
  command = plan

  variables {
    reserve = -1
  }

  expect_failures = [var.reserve]
}

run "reserve_2" {
  command = plan

  variables {
    reserve = 40
  }

  expect_failures = [var.reserve]
}

run "log_level" {
  command = plan

  variables {
    log_level = "loud"
  }

  expect_failures = [var.log_level]
}

run "schedule_expression_1" {
  command = plan

  variables {
    schedule_expression = "rate(1 hours)"
  }

  expect_failures = [var.schedule_expression]
}

run "schedule_expression_2" {
  command = plan

  variables {
    schedule_expression = "hourly"
  }

  expect_failures = [var.schedule_expression]
}

run "sweep_every_1" {
  command = plan

  variables {
    sweep_every = "hourly"
  }

  expect_failures = [var.sweep_every]
}

run "sweep_every_2" {
  command = plan

  variables {
    schedule_expression = "rate(6 hours)"
  }

  expect_failures = [var.sweep_every]
}

run "allowed_hosts_1" {
  command = plan

  variables {
    allowed_hosts = ["*"]
  }

  expect_failures = [var.allowed_hosts]
}

run "allowed_hosts_2" {
  command = plan

  variables {
    allowed_hosts = ["proxy.example.com", "https://proxy.example.com"]
  }

  expect_failures = [var.allowed_hosts]
}

run "event_bus_name" {
  command = plan

  variables {
    event_bus_name = "has space"
  }

  expect_failures = [var.event_bus_name]
}

run "secret_kms_key_arns" {
  command = plan

  variables {
    secret_kms_key_arns = ["alias/mine"]
  }

  expect_failures = [var.secret_kms_key_arns]
}

run "package_path" {
  command = plan

  variables {
    package_path = "tests/missing.zip"
  }

  expect_failures = [var.package_path]
}

run "package_twice" {
  command = plan

  variables {
    package_s3 = { bucket = "packages", key = "rotator-0.1.0.zip" }
  }

  expect_failures = [var.package_path]
}

run "package_s3" {
  command = plan

  variables {
    package_path = null
    package_s3   = { bucket = "packages", key = "rotator-0.1.0" }
  }

  expect_failures = [var.package_s3]
}

run "package_missing" {
  command = plan

  variables {
    package_path = null
  }

  expect_failures = [var.package_path]
}

run "sweep_timeout" {
  command = plan

  variables {
    sweep_timeout = 901
  }

  expect_failures = [var.sweep_timeout]
}

run "worker_timeout_1" {
  command = plan

  variables {
    worker_timeout = 60
  }

  expect_failures = [var.worker_timeout]
}

run "worker_timeout_2" {
  command = plan

  variables {
    worker_timeout = 901
  }

  expect_failures = [var.worker_timeout]
}

run "memory_size" {
  command = plan

  variables {
    memory_size = 128
  }

  expect_failures = [var.memory_size]
}

run "worker_concurrency" {
  command = plan

  variables {
    worker_concurrency = 1
  }

  expect_failures = [var.worker_concurrency]
}

run "max_receive_count" {
  command = plan

  variables {
    max_receive_count = 0
  }

  expect_failures = [var.max_receive_count]
}

run "kms_key_arn" {
  command = plan

  variables {
    kms_key_arn = "alias/mine"
  }

  expect_failures = [var.kms_key_arn]
}

run "log_retention_days" {
  command = plan

  variables {
    log_retention_days = 10
  }

  expect_failures = [var.log_retention_days]
}

run "alarm_emails" {
  command = plan

  variables {
    alarm_emails = ["no-address"]
  }

  expect_failures = [var.alarm_emails]
}

run "alarm_actions" {
  command = plan

  variables {
    alarm_actions = ["topic"]
  }

  expect_failures = [var.alarm_actions]
}

run "sweep_alarm_hours" {
  command = plan

  variables {
    sweep_alarm_hours = 169
  }

  expect_failures = [var.sweep_alarm_hours]
}

run "metric_namespace" {
  command = plan

  variables {
    metric_namespace = "AWS/Lambda"
  }

  expect_failures = [var.metric_namespace]
}

run "permissions_boundary_arn" {
  command = plan

  variables {
    permissions_boundary_arn = "boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "tags" {
  command = plan

  variables {
    tags = { "rotator:role" = "key" }
  }

  expect_failures = [var.tags]
}
