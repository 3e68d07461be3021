"""CloudFormation's functions, worked out as AWS does when it deploys: enough of them for this project's template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ABSENT = object()
"""What ``AWS::NoValue`` stands for: the property or list item is left out."""

PSEUDO = {"AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::AccountId": "123456789012"}


@dataclass(frozen=True)
class Stack:
    """A template and what is known when it is deployed.

    :param parameters: values of parameters, where not the defaults.
    :param known: values of ``Ref`` and ``Fn::GetAtt`` by name (``Queue``, ``Queue.Arn``), pseudo parameters included.
    """

    template: Mapping[str, Any]
    parameters: Mapping[str, str]
    known: Mapping[str, str]

    def resources(self, kind: str) -> dict[str, Any]:
        """The properties, worked out, of every resource of a type that exists under these parameters."""
        found: dict[str, Any] = {}
        for name, resource in self.template["Resources"].items():
            if resource["Type"] == kind and self.condition(resource.get("Condition")):
                found[name] = self.resolve(resource.get("Properties", {}))
        return found

    def condition(self, name: str | None) -> bool:
        """Whether a condition holds; no condition does."""
        return name is None or bool(self.resolve(self.template["Conditions"][name]))

    def reference(self, name: str) -> Any:
        """``Ref`` and, with a dot, ``Fn::GetAtt``."""
        if name == "AWS::NoValue":
            return ABSENT
        declared = self.template.get("Parameters", {}).get(name)
        if declared is not None:
            value = str(self.parameters.get(name, declared.get("Default")))
            return value.split(",") if declared["Type"] == "CommaDelimitedList" else value
        if name in self.known:
            return self.known[name]
        resource = self.template["Resources"].get(name, {})
        own = resource.get("Properties", {})
        named = own.get("FunctionName") or own.get("LogGroupName")
        return self.resolve(named) if named is not None else f"<{name}>"

    def resolve(self, value: Any) -> Any:
        """A value with every function in it worked out."""
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not ABSENT]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), *_ = value.items()
            match name:
                case "Ref":
                    return self.reference(argument)
                case "Fn::GetAtt":
                    return self.reference(argument if isinstance(argument, str) else ".".join(argument))
                case "Fn::Sub":
                    return re.sub(r"\$\{([^}]+)\}", lambda found: str(self.reference(found[1])), argument)
                case "Fn::If":
                    return self.resolve(argument[1] if self.condition(argument[0]) else argument[2])
                case "Fn::Equals":
                    return self.resolve(argument[0]) == self.resolve(argument[1])
                case "Fn::Not":
                    return not self.resolve(argument[0])
                case "Fn::And":
                    return all(self.resolve(argument))
                case "Condition":
                    return self.condition(argument)
                case "Fn::Join":
                    return argument[0].join(self.resolve(argument[1]))
                case "Fn::Split":
                    return self.resolve(argument[1]).split(argument[0])
                case "Fn::Select":
                    return self.resolve(argument[1])[argument[0]]
            assert not name.startswith("Fn::"), f"{name} is not known here"
        worked = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in worked.items() if item is not ABSENT}
