"""The module is applied where there is no AWS, and the state is read.

By a terraform whose provider plays AWS itself and needs no network, or by the machine's own against moto: ``TERRAFORM``
names it, and it fetches the AWS provider from its registry once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "tools" / "terraform"


def own_terraform() -> str | None:
    """The machine's own terraform, if ``TERRAFORM`` names it, as for ``.ci/deploy-checks``."""
    return shutil.which(os.environ.get("TERRAFORM", ""))


def offline_terraform() -> str | None:
    """The command, or ``None`` where there is none. ``TERRAFORM_OFFLINE`` names one that lies elsewhere."""
    if shutil.which("terraform") is None:
        return None
    named = os.environ.get("TERRAFORM_OFFLINE") or (str(ROOT / ".ci" / "terraform-offline") if SHARED.is_dir() else "")
    return named if Path(named).is_file() else None


def cached_provider() -> dict[str, str]:
    """The environment in which the machine's own terraform fetches its provider once."""
    cache = ROOT / "build" / "terraform-providers"
    cache.mkdir(parents=True, exist_ok=True)
    return {
        "TF_PLUGIN_CACHE_DIR": str(cache),
        "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE": "1",  # the copies have no lock file
    }


def apply(
    command: str, module: Path, folder: Path, variables: dict[str, Any], environment: dict[str, str] | None = None
) -> dict[str, Any]:
    """Copy a module into an empty folder and apply it there. Gives the state as ``terraform show -json`` does."""
    shutil.copytree(module, folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "tests", "examples"))
    (folder / "this.auto.tfvars.json").write_text(json.dumps(variables))

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("init", "-backend=false", "-input=false", "-no-color")
    run("apply", "-auto-approve", "-input=false", "-no-color")
    state: dict[str, Any] = json.loads(run("show", "-json"))
    return state


@dataclass(frozen=True)
class Applied:
    """A state."""

    state: dict[str, Any]

    def values(self, kind: str) -> dict[str, dict[str, Any]]:
        """The attributes of every resource (or data source) of a type, by name or, with ``for_each``, by key."""
        found = [each for each in self.state["values"]["root_module"]["resources"] if each["type"] == kind]
        keys = [each["name"] if isinstance(each.get("index", 0), int) else each["index"] for each in found]
        return {key: each["values"] for key, each in zip(keys, found, strict=True)}

    def outputs(self) -> dict[str, Any]:
        """Outputs, by name."""
        return {name: output["value"] for name, output in self.state["values"]["outputs"].items()}

    def known(self) -> dict[str, str]:
        """What the template's references stand for, if it were deployed where this was."""
        queues, functions = self.values("aws_sqs_queue"), self.values("aws_lambda_function")
        topic = self.values("aws_sns_topic")["alarms"]["arn"]
        partition = self.values("aws_partition")["current"]["partition"]
        region = self.values("aws_region")["current"]["region"]
        account = self.values("aws_caller_identity")["current"]["account_id"]
        named = {f"{name.capitalize()}LambdaFunction": one for name, one in functions.items()}
        return {
            "AWS::Partition": partition,
            "AWS::Region": region,
            "AWS::AccountId": account,
            "AccountQueue": queues["accounts"]["url"],
            "AccountQueue.Arn": f"arn:{partition}:sqs:{region}:{account}:{queues['accounts']['name']}",
            "DeadLetterQueue.Arn": queues["dead"]["arn"],
            "DeadLetterQueue.QueueName": queues["dead"]["name"],
            "AlarmTopic": topic,
            **{name: one["function_name"] for name, one in named.items()},
            **{f"{name}.Arn": one["arn"] for name, one in named.items()},
        }
