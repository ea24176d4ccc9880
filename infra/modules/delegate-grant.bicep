// The strongest right: granting roles in a resource group of targets. It is never assigned without the
// condition of roles/grants-condition.txt: listed roles only, to service principals only, never to the app.
// What is granted no more must still be taken back from who has it: deleting covers all of roles/delegable.json.

@description('Object id of the app\'s identity.')
param appPrincipalId string

@description('GUID of the role of roles/grants.json, or of Role Based Access Control Administrator.')
param roleGuid string

@description('Names of the roles of roles/delegable.json that may be granted; empty for all. Others are not heard.')
param roleNames array

var delegable = loadJsonContent('../roles/delegable.json').roles
var grantable = map(filter(delegable, role => empty(roleNames) || contains(roleNames, role.name)), role => role.id)
var revocable = map(delegable, role => role.id)
var granting = replace(loadTextContent('../roles/grants-condition.txt'), '<grantable>', join(grantable, ', '))
var condition = replace(replace(granting, '<revocable>', join(revocable, ', ')), '<appPrincipalId>', appPrincipalId)

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
