"""Counts the containers of a storage account: what a workload does with its connection.

In a pod it needs nothing but the connection's secret and service account (see ``pod.yaml``): the secret gives
the endpoint, and ``DefaultAzureCredential`` finds the identity that the service account carries.
Install ``azure-identity`` and ``azure-storage-blob`` into the pod's image.
"""

from __future__ import annotations

import os
import re
import sys

from azure.core.exceptions import AzureError
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient


def main() -> int:
    if "AZURE_STORAGEBLOB_RESOURCEENDPOINT" not in os.environ:
        print("Connect to Azure Storage failed: AZURE_STORAGEBLOB_RESOURCEENDPOINT is not set")
        return 1
    try:
        client = BlobServiceClient(
            account_url=os.environ["AZURE_STORAGEBLOB_RESOURCEENDPOINT"],
            credential=DefaultAzureCredential(),
            retry_total=1,  # by default it takes a minute and a half to say that access is gone
        )
        with client:
            count = sum(1 for _ in client.list_containers())
    except AzureError as error:
        print(f"Connect to Azure Storage failed: {error_code(error)}")
        return 1
    print(f"Connect to Azure Storage succeeded. Find {count} containers")
    return 0


def error_code(error: AzureError) -> str:
    """The service's own code, Entra's AADSTS number, or the kind of error."""
    code = getattr(error, "error_code", None)
    entra = re.search(r"AADSTS\d+", str(error))
    return getattr(code, "value", code) or (entra.group() if entra else type(error).__name__)


if __name__ == "__main__":
    sys.exit(main())
