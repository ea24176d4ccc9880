// Having the keys of targets in a resource group: for connections by a key alone, and off unless it is asked for.

@description('Object id of the app\'s identity.')
param appPrincipalId string

@description('GUID of the role of roles/keys.json.')
param roleGuid string

resource grant 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, appPrincipalId, roleGuid)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleGuid)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}
