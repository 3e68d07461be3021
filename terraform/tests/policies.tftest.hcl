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

run "plain" {
  command = plan

  assert {
    condition = jsonencode({
      for name, policy in data.aws_iam_policy_document.function :
      name => [for statement in jsondecode(policy.json).Statement : statement.Sid]
      }) == jsonencode({
      sweep    = ["FindSecrets", "ReadManagement", "ManagedSecrets", "ReadBatches", "DescribeChanges", "SendAccounts", "WriteLogs"]
      worker   = ["FindSecrets", "ReadManagement", "ManagedSecrets", "ReadBatches", "ReceiveAccounts", "WriteLogs"]
      revoke   = ["FindSecrets", "ReadManagement", "ManagedSecrets", "ReadBatches", "WriteLogs"]
      rotation = ["FindSecrets", "ReadManagement", "ManagedSecrets", "WriteLogs"]
    })
    error_message = "A role has a statement too many or too few."
  }

  # What each function may do to secrets: nothing but reading for the sweep, and never more than reading credentials.
  assert {
    condition = jsonencode({
      for name, policy in data.aws_iam_policy_document.function : name => {
        for statement in jsondecode(policy.json).Statement :
        statement.Condition.StringEquals["secretsmanager:ResourceTag/rotator:role"] => sort(flatten([statement.Action]))
        if contains(["ReadManagement", "ManagedSecrets"], statement.Sid)
      }
      }) == jsonencode({
      sweep    = { management = ["secretsmanager:GetSecretValue"], key = ["secretsmanager:GetSecretValue"] }
      worker   = { management = ["secretsmanager:GetSecretValue"], key = local.change }
      revoke   = { management = ["secretsmanager:GetSecretValue"], key = local.change }
      rotation = { management = ["secretsmanager:GetSecretValue"], key = local.change }
    })
    error_message = "Secrets are not reached by their tags alone, or by too many actions."
  }

  assert {
    condition = jsonencode(local.change) == jsonencode([
      "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:ListSecretVersionIds",
      "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage",
    ])
    error_message = "Changing a managed secret takes these five actions and no other."
  }

  # Only listing and reading in batches take any resource; everything else is this AWS account's, this region's, and
  # narrowed further.
  assert {
    condition = toset(flatten([
      for policy in data.aws_iam_policy_document.function : [
        for statement in jsondecode(policy.json).Statement : statement.Sid if statement.Resource == "*"
      ]
    ])) == toset(["FindSecrets", "ReadBatches"])
    error_message = "A statement takes any resource."
  }

  # A batch reads nothing that the role may not read one by one: the statement has this one action.
  assert {
    condition = jsonencode({
      for name, policy in data.aws_iam_policy_document.function : name => flatten([
        for statement in jsondecode(policy.json).Statement : statement.Action if statement.Sid == "ReadBatches"
      ])
      }) == jsonencode({
      sweep    = ["secretsmanager:BatchGetSecretValue"]
      worker   = ["secretsmanager:BatchGetSecretValue"]
      revoke   = ["secretsmanager:BatchGetSecretValue"]
      rotation = []
    })
    error_message = "Secrets are read in batches by what searches all of them for a key, and by nothing else."
  }

  assert {
    condition = jsonencode({
      for name, policy in data.aws_iam_policy_document.function : name => {
        for statement in jsondecode(policy.json).Statement : statement.Sid => statement.Resource
        if contains(["SendAccounts", "ReceiveAccounts", "WriteLogs"], statement.Sid)
      }
      }) == jsonencode({
      sweep = {
        SendAccounts = "arn:aws:sqs:eu-central-1:123456789012:rotator-accounts.fifo"
        WriteLogs    = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/rotator-sweep:*"
      }
      worker = {
        ReceiveAccounts = "arn:aws:sqs:eu-central-1:123456789012:rotator-accounts.fifo"
        WriteLogs       = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/rotator-worker:*"
      }
      revoke   = { WriteLogs = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/rotator-revoke:*" }
      rotation = { WriteLogs = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/rotator-rotation:*" }
    })
    error_message = "A function reaches another one's log or the wrong queue."
  }
}

run "everything_on" {
  command = plan

  variables {
    event_bus_name      = "default"
    secret_kms_key_arns = ["arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"]
    xray                = true
    adoption_gate       = true
  }

  assert {
    condition = toset([
      for name, policy in data.aws_iam_policy_document.function : name
      if contains([for statement in jsondecode(policy.json).Statement : statement.Sid], "ReadTrail")
    ]) == toset(["sweep", "worker"])
    error_message = "CloudTrail is read by what sweeps, and by nothing else."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(data.aws_iam_policy_document.function["worker"].json).Statement :
      statement.Condition.StringEquals == { "events:source" = "infobip-key-rotator" } if statement.Sid == "SendEvents"
    ])
    error_message = "Events must be sent under the rotator's own name only."
  }

  assert {
    condition = alltrue(flatten([
      for policy in data.aws_iam_policy_document.function : [
        for statement in jsondecode(policy.json).Statement :
        statement.Condition.StringEquals == { "kms:ViaService" = "secretsmanager.eu-central-1.amazonaws.com" } if statement.Sid == "SecretsKeys"
      ]
    ]))
    error_message = "Keys may be used through Secrets Manager only."
  }

  assert {
    condition     = length([for statement in jsondecode(data.aws_iam_policy_document.function["sweep"].json).Statement : statement if statement.Sid == "SendEvents"]) == 0
    error_message = "The sweep function changes nothing, so it has no events to send."
  }

  assert {
    condition     = length([for statement in jsondecode(data.aws_iam_policy_document.function["worker"].json).Statement : statement if statement.Sid == "SendEvents"]) == 1
    error_message = "The worker must be allowed to send events."
  }
}

run "stores" {
  command = plan

  variables {
    stores              = ["eu-central-1", "us-east-1", "arn:aws:iam::111122223333:role/rotator@home@eu-west-1", "arn:aws:iam::111122223333:role/rotator@home@eu-west-2"]
    secret_kms_key_arns = ["arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"]
  }

  assert {
    condition = alltrue([for name in ["sweep", "worker", "revoke"] : jsonencode({
      for statement in jsondecode(data.aws_iam_policy_document.function[name].json).Statement : statement.Sid => try(
        statement.Condition.StringEquals["aws:RequestedRegion"], statement.Condition.StringEquals["kms:ViaService"], statement.Resource
      ) if contains(["ReadManagement", "ManagedSecrets", "AssumeStores", "SecretsKeys", "DescribeChanges"], statement.Sid)
      }) == jsonencode(merge({
        ReadManagement = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:*"
        AssumeStores   = "arn:aws:iam::111122223333:role/rotator@home"
        ManagedSecrets = ["eu-central-1", "us-east-1"]
        SecretsKeys    = ["secretsmanager.eu-central-1.amazonaws.com", "secretsmanager.us-east-1.amazonaws.com"]
    }, name == "sweep" ? { DescribeChanges = ["eu-central-1", "us-east-1"] } : {}))])
    error_message = "The stores' regions and roles must be reached, management secrets in this region only."
  }

  assert {
    condition = [for statement in jsondecode(data.aws_iam_policy_document.function["rotation"].json).Statement : statement.Resource if statement.Sid == "ManagedSecrets"
    ] == ["arn:aws:secretsmanager:eu-central-1:123456789012:secret:*"] && !strcontains(data.aws_iam_policy_document.function["rotation"].json, "sts:")
    error_message = "The function rotation must reach secrets of this AWS account and region only."
  }
}

run "secrets_manager_alone_may_call_rotation" {
  command = plan

  assert {
    condition     = aws_lambda_permission.rotation.principal == "secretsmanager.amazonaws.com" && aws_lambda_permission.rotation.source_account == "123456789012"
    error_message = "Only Secrets Manager of this AWS account may invoke the rotation function."
  }
}
