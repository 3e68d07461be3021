"""The policy of whoever deploys (docs/iam/deployer.json): what both deployments' resources need, and nothing else."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.deploy.offline import NAME, ROOT
from tests.deploy.policies import Statement, statements

NEEDED = {
    "AWS::Lambda::Function aws_lambda_function": (
        "lambda:CreateFunction lambda:UpdateFunctionCode lambda:UpdateFunctionConfiguration lambda:DeleteFunction "
        "lambda:GetFunction lambda:GetFunctionConfiguration lambda:GetFunctionCodeSigningConfig "
        "lambda:GetRuntimeManagementConfig lambda:ListVersionsByFunction lambda:PutFunctionConcurrency "
        "lambda:DeleteFunctionConcurrency lambda:GetFunctionConcurrency lambda:TagResource lambda:UntagResource "
        "lambda:ListTags iam:PassRole"
    ),
    "AWS::Lambda::EventInvokeConfig aws_lambda_function_event_invoke_config": (
        "lambda:PutFunctionEventInvokeConfig lambda:UpdateFunctionEventInvokeConfig "
        "lambda:GetFunctionEventInvokeConfig lambda:DeleteFunctionEventInvokeConfig"
    ),
    "AWS::Lambda::EventSourceMapping aws_lambda_event_source_mapping": (
        "lambda:CreateEventSourceMapping lambda:UpdateEventSourceMapping lambda:DeleteEventSourceMapping "
        "lambda:GetEventSourceMapping lambda:ListEventSourceMappings"
    ),
    "AWS::Lambda::Permission aws_lambda_permission": ("lambda:AddPermission lambda:RemovePermission lambda:GetPolicy"),
    "AWS::IAM::Role aws_iam_role aws_iam_role_policy": (
        "iam:CreateRole iam:GetRole iam:UpdateRole iam:UpdateRoleDescription iam:DeleteRole "
        "iam:UpdateAssumeRolePolicy iam:PutRolePolicy iam:GetRolePolicy iam:DeleteRolePolicy iam:ListRolePolicies "
        "iam:ListAttachedRolePolicies iam:ListInstanceProfilesForRole iam:ListRoleTags iam:TagRole iam:UntagRole"
    ),
    "AWS::SQS::Queue AWS::SQS::QueuePolicy aws_sqs_queue aws_sqs_queue_policy aws_sqs_queue_redrive_allow_policy": (
        "sqs:CreateQueue sqs:DeleteQueue sqs:GetQueueAttributes sqs:GetQueueUrl sqs:SetQueueAttributes "
        "sqs:ListQueueTags sqs:TagQueue sqs:UntagQueue"
    ),
    "AWS::Scheduler::Schedule aws_scheduler_schedule": (
        "scheduler:CreateSchedule scheduler:UpdateSchedule scheduler:DeleteSchedule scheduler:GetSchedule iam:PassRole"
    ),
    (
        "AWS::SNS::Topic AWS::SNS::TopicPolicy AWS::SNS::Subscription aws_sns_topic aws_sns_topic_policy "
        "aws_sns_topic_subscription"
    ): (
        "sns:CreateTopic sns:DeleteTopic sns:GetTopicAttributes sns:SetTopicAttributes sns:Subscribe sns:Unsubscribe "
        "sns:GetSubscriptionAttributes sns:SetSubscriptionAttributes sns:ListSubscriptionsByTopic "
        "sns:ListTagsForResource sns:TagResource sns:UntagResource"
    ),
    "AWS::Events::Rule aws_cloudwatch_event_rule aws_cloudwatch_event_target": (
        "events:PutRule events:DeleteRule events:DescribeRule events:EnableRule events:DisableRule events:PutTargets "
        "events:RemoveTargets events:ListTargetsByRule events:ListTagsForResource events:TagResource "
        "events:UntagResource"
    ),
    "AWS::Events::EventBus aws_cloudwatch_event_bus aws_cloudwatch_event_bus_policy": (
        "events:CreateEventBus events:UpdateEventBus events:DeleteEventBus events:DescribeEventBus "
        "events:PutPermission events:RemovePermission events:ListTagsForResource events:TagResource "
        "events:UntagResource"
    ),
    "AWS::Logs::LogGroup AWS::Logs::MetricFilter aws_cloudwatch_log_group aws_cloudwatch_log_metric_filter": (
        "logs:CreateLogGroup logs:DeleteLogGroup logs:DescribeLogGroups logs:PutRetentionPolicy "
        "logs:DeleteRetentionPolicy logs:AssociateKmsKey logs:DisassociateKmsKey logs:PutMetricFilter "
        "logs:DescribeMetricFilters logs:DeleteMetricFilter logs:ListTagsForResource logs:TagResource "
        "logs:UntagResource"
    ),
    "AWS::CloudWatch::Alarm aws_cloudwatch_metric_alarm": (
        "cloudwatch:PutMetricAlarm cloudwatch:DescribeAlarms cloudwatch:DeleteAlarms cloudwatch:ListTagsForResource "
        "cloudwatch:TagResource cloudwatch:UntagResource"
    ),
    "aws_cloudwatch_dashboard": ("cloudwatch:PutDashboard cloudwatch:GetDashboard cloudwatch:DeleteDashboards"),
    "AWS::S3::Bucket AWS::S3::BucketPolicy": (
        "s3:CreateBucket s3:DeleteBucket s3:GetBucketLocation s3:GetBucketPolicy s3:PutBucketPolicy "
        "s3:DeleteBucketPolicy s3:GetBucketVersioning s3:PutBucketVersioning s3:GetBucketPublicAccessBlock "
        "s3:PutBucketPublicAccessBlock s3:GetEncryptionConfiguration s3:PutEncryptionConfiguration "
        "s3:GetBucketTagging s3:PutBucketTagging s3:ListBucket s3:ListBucketVersions s3:GetObject s3:PutObject "
        "s3:DeleteObject s3:DeleteObjectVersion"
    ),
    "osls": (
        "cloudformation:CreateStack cloudformation:UpdateStack cloudformation:DeleteStack "
        "cloudformation:DescribeStacks cloudformation:DescribeStackEvents cloudformation:DescribeStackResource "
        "cloudformation:DescribeStackResources cloudformation:ListStackResources cloudformation:GetTemplate "
        "cloudformation:ValidateTemplate cloudformation:CreateChangeSet cloudformation:DescribeChangeSet "
        "cloudformation:ExecuteChangeSet cloudformation:DeleteChangeSet"
    ),
}
"""Resource types of both deployments, and the actions that create, read, change and remove them: the handlers'
permissions in CloudFormation's registry, and the calls of Terraform's provider."""


def needed(names: set[str]) -> set[str]:
    return {action for row, actions in NEEDED.items() if names & set(row.split()) for action in actions.split()}


@pytest.fixture(scope="module")
def policy() -> frozenset[Statement]:
    return statements((ROOT / "docs" / "iam" / "deployer.json").read_text())


def types(template: dict[str, Any]) -> set[str]:
    modules = (ROOT / "terraform").glob("*.tf")
    found = {kind for path in modules for kind in re.findall(r'^resource "(\w+)"', path.read_text(), re.MULTILINE)}
    return found | {one["Type"] for one in template["Resources"].values()} | {"osls"}


def test_deployer_may_do_what_is_needed(template: dict[str, Any], policy: frozenset[Statement]) -> None:
    kinds = types(template)
    assert kinds <= {kind for row in NEEDED for kind in row.split()}
    assert {action for one in policy for action in one.actions} == needed(kinds)


def test_deployer_reaches_own_names_only(policy: frozenset[Statement]) -> None:
    prefix = NAME.removesuffix("dev")
    wide = {one.sid for one in policy if any(prefix not in resource for resource in one.resources)}
    assert wide == {
        "Find",
        "Subscriptions",
        "StoreBusPolicy",
        *(f"QueueToWorker{each}" for each in ("", "Change", "Tags")),
    }
    for mapping in (one for one in policy if one.sid in {"QueueToWorker", "QueueToWorkerChange"}):
        ((_, variable, functions),) = mapping.conditions
        assert variable == "lambda:FunctionArn"
        assert all(prefix in function for function in functions)
    (find,) = (one for one in policy if one.sid == "Find")
    assert not [action for action in find.actions if not re.search(":(List|Describe|Validate)", action)]
    (roles,) = (one for one in policy if "iam:PassRole" in one.actions)
    assert {values for _, _, values in roles.conditions} == {
        frozenset({"lambda.amazonaws.com", "scheduler.amazonaws.com"})
    }


def test_deployer_policy_fits_iam() -> None:
    document = json.loads((ROOT / "docs" / "iam" / "deployer.json").read_text())
    assert len(json.dumps(document, separators=(",", ":"))) <= 6144, "a managed policy's size, without white space"
