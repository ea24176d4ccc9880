# `azd down` would delete the group of workload identities, and with it the access of every workload.
# Without the outputs of a deployment, as in a new clone, the group has its default name.
$group = $env:IDENTITY_RESOURCE_GROUP
if (-not $group) { $group = $env:MOORING_IDENTITY_RESOURCE_GROUP_NAME }
if (-not $group) { $group = "rg-mooring-$($env:AZURE_ENV_NAME)-identities" }
# The command line's own default may be another subscription, which has no such group.
$subscription = $env:AZURE_SUBSCRIPTION_ID
$left = $null
if ($subscription) {
  if ((az group exists --name $group --subscription $subscription 2>$null) -eq 'false') { exit 0 }
  $left = az identity list --resource-group $group --subscription $subscription --query 'length(@)' --output tsv 2>$null
  if ($left -eq '0') { exit 0 }
}
if (-not $left) { $left = 'unknown' }
[Console]::Error.WriteLine("Stopped: the group $group holds workload identities ($left).")
[Console]::Error.WriteLine('Removing them takes access from running workloads. docs/deploying.md, section Uninstall, says')
[Console]::Error.WriteLine('how to remove Mooring and keep what it granted, and how to take it all away first.')
exit 1
