# The four functions. Each has its own role (iam.tf) and a log group that is created before it (logs.tf).

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region
  account   = data.aws_caller_identity.current.account_id

  common = merge(
    {
      ROTATOR_DEPLOYMENT  = var.deployment
      ROTATOR_DAILY_LIMIT = tostring(var.daily_limit)
      ROTATOR_RESERVE     = tostring(var.reserve)
      ROTATOR_SWEEP_EVERY = var.sweep_every
      ROTATOR_LOG_LEVEL   = var.log_level
    },
    var.event_bus_name == null ? {} : { ROTATOR_EVENT_BUS = var.event_bus_name },
    length(var.allowed_hosts) == 0 ? {} : { ROTATOR_ALLOWED_HOSTS = join(",", var.allowed_hosts) },
  )

  # Not for rotation: Secrets Manager calls it for secrets of this AWS account and region only.
  stores = merge(
    length(var.stores) == 0 ? {} : { ROTATOR_STORES = join(" ", var.stores) },
    var.external_id == null ? {} : { ROTATOR_EXTERNAL_ID = var.external_id },
  )

  sweeping = {
    ROTATOR_DRY_RUN          = tostring(var.dry_run)
    ROTATOR_METRIC_NAMESPACE = var.metric_namespace

    # By name: a function's environment can't refer to a function of the same resource.
    ROTATOR_ROTATION_FUNCTION = "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${var.name}-rotation"
  }

  functions = {
    sweep = {
      description = "Sends one message per Infobip account to the queue; in dry-run, plans"
      timeout     = var.sweep_timeout
      environment = merge(local.sweeping, local.stores, { ROTATOR_QUEUE_URL = aws_sqs_queue.accounts.url })
    }
    worker = {
      description = "Sweeps one Infobip account"
      timeout     = var.worker_timeout
      environment = merge(local.sweeping, local.stores)
    }
    # These ignore the dry-run setting, because they are only called to change keys.
    revoke = {
      description = "Emergency revocation of a key, invoked by hand"
      timeout     = 300
      environment = local.stores
    }
    rotation = {
      description = "The four rotation steps that Secrets Manager calls"
      timeout     = 300
      environment = {}
    }
  }
}

resource "aws_lambda_function" "this" {
  for_each = local.functions

  #checkov:skip=CKV_AWS_50:X-Ray is optional (xray), off by default because it adds cost and a permission
  #checkov:skip=CKV_AWS_115:Concurrency is reserved only for emergencies (reserve_concurrency); a new AWS account has none to spare
  #checkov:skip=CKV_AWS_116:A dead-letter queue here is for asynchronous calls: the worker's queue has one, a lost sweep is followed by the next and by an alarm, revoke returns its result to the caller
  #checkov:skip=CKV_AWS_117:It calls Infobip over the internet and AWS's public endpoints; a VPC would add a NAT gateway and no protection
  #checkov:skip=CKV_AWS_173:The environment contains names and numbers, no secret; kms_key_arn encrypts it
  #checkov:skip=CKV_AWS_272:Code signing requires the user's own signing profile

  function_name = "${var.name}-${each.key}"
  description   = each.value.description
  role          = aws_iam_role.function[each.key].arn

  filename          = var.package_path
  source_code_hash  = var.package_path == null ? null : filebase64sha256(var.package_path)
  s3_bucket         = one(var.package_s3[*].bucket)
  s3_key            = one(var.package_s3[*].key)
  s3_object_version = one(var.package_s3[*].version)
  handler           = "rotator.lambda_handlers.${each.key}"
  runtime           = "python3.13"
  architectures     = ["arm64"]

  timeout     = each.value.timeout
  memory_size = var.memory_size
  # Only for emergencies: everything else can wait for other functions.
  reserved_concurrent_executions = var.reserve_concurrency && each.key == "revoke" ? 2 : -1
  kms_key_arn                    = var.kms_key_arn
  tags                           = var.tags

  environment {
    variables = merge(local.common, each.value.environment)
  }

  # Text: audit lines are JSON already and must stay as they are, for their digests.
  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.function[each.key].name
  }

  tracing_config {
    mode = var.xray ? "Active" : "PassThrough"
  }

  # Without its policy a function would start, fail and raise the alarm.
  depends_on = [aws_iam_role_policy.function]
}

# Lambda does not retry a failed sweep: the next one continues. It retries a revocation that was invoked asynchronously
# (Lambda's default), which finishes what is left and creates no second replacement.
resource "aws_lambda_function_event_invoke_config" "sweep" {
  function_name                = aws_lambda_function.this["sweep"].function_name
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = 900
}

resource "aws_lambda_permission" "rotation" {
  statement_id   = "SecretsManagerRotation"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.this["rotation"].function_name
  principal      = "secretsmanager.amazonaws.com"
  source_account = local.account
}
