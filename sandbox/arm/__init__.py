"""A Resource Manager emulator: what ``azure-mgmt-*`` clients meet in the sandbox."""
