"""Validates a manifest on standard input against the official schema of several versions of Kubernetes, strictly."""

import json
import sys

import kubernetes_validate
import yaml

manifest = yaml.safe_load(sys.stdin)
answers = {}
for version in sys.argv[1:]:
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
        answers[version] = None
    except kubernetes_validate.ValidationError as error:
        answers[version] = error.message
print(json.dumps({"manifest": manifest, "errors": answers}))
