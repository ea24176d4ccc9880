#!/bin/sh
# `azd down` would delete the group of workload identities, and with it the access of every workload.
set -eu
# Without the outputs of a deployment, as in a new clone, the group has its default name.
group="${IDENTITY_RESOURCE_GROUP:-${MOORING_IDENTITY_RESOURCE_GROUP_NAME:-rg-mooring-${AZURE_ENV_NAME:-}-identities}}"
# The command line's own default may be another subscription, which has no such group.
subscription="${AZURE_SUBSCRIPTION_ID:-}"
there=unknown left=unknown
if [ -n "$subscription" ]; then
  there=$(az group exists --name "$group" --subscription "$subscription" 2>/dev/null || echo unknown)
  [ "$there" != "false" ] || exit 0
  left=$(az identity list --resource-group "$group" --subscription "$subscription" --query 'length(@)' --output tsv \
    2>/dev/null || echo unknown)
  [ "$left" != "0" ] || exit 0
fi
echo "Stopped: the group $group holds workload identities ($left)." >&2
echo "Removing them takes access from running workloads. docs/deploying.md, section Uninstall, says" >&2
echo "how to remove Mooring and keep what it granted, and how to take it all away first." >&2
exit 1
