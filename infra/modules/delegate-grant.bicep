// The strongest right: granting roles in a resource group of targets. It is never assigned without the
// condition of roles/grants-condition.txt: listed roles only, to service principals only, never to the app.

@description('Object id of the app\'s identity.')
param appPrincipalId string

@description('GUID of the role of roles/grants.json, or of Role Based Access Control Administrator.')
param roleGuid string

var roleIds = map(loadJsonContent('../roles/delegable.json').roles, role => role.id)
var condition = replace(
  replace(loadTextContent('../roles/grants-condition.txt'), '<roleIds>', join(roleIds, ', ')),
  '<appPrincipalId>',
  appPrincipalId
)

resource grant 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, appPrincipalId, roleGuid)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleGuid)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    condition: condition
    conditionVersion: '2.0'
  }
}
