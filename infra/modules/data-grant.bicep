// Granting what services keep themselves, in a resource group of targets. No condition of Azure covers these
// actions: whoever holds them may give any principal any data role of the accounts there.

@description('Object id of the app\'s identity.')
param appPrincipalId string

@description('GUID of the role of roles/data-grants.json.')
param roleGuid string

resource grant 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, appPrincipalId, roleGuid)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleGuid)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}
