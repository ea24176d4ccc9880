# `azd down` would delete the group of workload identities, and with it the access of every workload.
$group = $env:IDENTITY_RESOURCE_GROUP
if (-not $group) { exit 0 }
if ((az group exists --name $group 2>$null) -eq 'false') { exit 0 }
$left = az identity list --resource-group $group --query 'length(@)' --output tsv 2>$null
if ($left -eq '0') { exit 0 }
if (-not $left) { $left = 'unknown' }
[Console]::Error.WriteLine("Stopped: the group $group holds workload identities ($left).")
[Console]::Error.WriteLine('Removing them takes access from running workloads. docs/deploying.md, section Uninstall, says')
[Console]::Error.WriteLine('how to remove Mooring and keep what it granted, and how to take it all away first.')
exit 1
