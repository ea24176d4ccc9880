// Managing workload identities, in the one resource group that this module is deployed to.

@description('Object id of the app\'s identity.')
param appPrincipalId string

@description('GUID of the role of roles/identities.json.')
param roleGuid string

resource grant 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, appPrincipalId, roleGuid)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleGuid)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}
