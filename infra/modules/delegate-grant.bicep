// The strongest right: granting roles in a resource group of targets. It is never assigned without the
// condition of roles/grants-condition.txt: listed roles only, to service principals only, never to the app.

@description('Object id of the app\'s identity.')
param appPrincipalId string

@description('GUID of the role of roles/grants.json, or of Role Based Access Control Administrator.')
param roleGuid string

@description('Names of the roles of roles/delegable.json that may be granted; empty for all. Others are not heard.')
param roleNames array

var chosen = filter(loadJsonContent('../roles/delegable.json').roles, role => empty(roleNames) || contains(roleNames, role.name))
var roleIds = map(chosen, role => role.id)
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
