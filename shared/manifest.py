"""The part of a pod's manifest that makes it use a connection, ready to be pasted.

The label turns on AKS workload identity for the pod, the service account carries the identity, and the
secret carries the settings (azure.github.io/azure-workload-identity, labels and annotations).
"""

from __future__ import annotations

import json


def pod_snippet(*, service_account: str, secret: str, namespace: str) -> str:
    """YAML of a pod template's parts, with a placeholder for the program itself.

    Args:
        service_account: name of the service account made for the connection's identity.
        secret: name of the secret with the connection's settings.
        namespace: where both are; a pod elsewhere cannot use them.
    """
    # JSON strings are YAML strings, also where a name is all digits and would read as a number.
    return f"""\
metadata:
  namespace: {json.dumps(namespace)}
  labels:
    azure.workload.identity/use: "true"
spec:
  serviceAccountName: {json.dumps(service_account)}
  containers:
    - name: "app"
      image: "IMAGE"
      envFrom:
        - secretRef:
            name: {json.dumps(secret)}
"""
