#!/bin/sh
# `azd down` would delete the group of workload identities, and with it the access of every workload.
set -eu
group="${IDENTITY_RESOURCE_GROUP:-}"
[ -n "$group" ] || exit 0
there=$(az group exists --name "$group" 2>/dev/null || echo unknown)
[ "$there" != "false" ] || exit 0
left=$(az identity list --resource-group "$group" --query 'length(@)' --output tsv 2>/dev/null || echo unknown)
[ "$left" != "0" ] || exit 0
echo "Stopped: the group $group holds workload identities ($left)." >&2
echo "Removing them takes access from running workloads. docs/deploying.md, section Uninstall, says" >&2
echo "how to remove Mooring and keep what it granted, and how to take it all away first." >&2
exit 1
