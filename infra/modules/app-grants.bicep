// What the app may do with its own account and logs: built-in data roles, no wider than these two resources.

@description('Name of the storage account.')
param storageAccountName string

@description('Name of the Application Insights resource.')
param componentsName string

@description('Object id of the app\'s identity.')
param appPrincipalId string

@description('Object ids of who may send requests; each gets the right to put messages on the request queue.')
param requesterPrincipalIds array

var names = loadJsonContent('../names.json')
var appRoles = [
  'b7e6dc6d-f1e8-4753-8033-0f276bb0955b' // Storage Blob Data Owner: the host's locks and keys, the package
  '974c5e8b-45b9-4653-ba55-5f855dd0fb88' // Storage Queue Data Contributor: triggers, steps
  '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3' // Storage Table Data Contributor: state
]
var metricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb' // Monitoring Metrics Publisher: logs
var messageSender = 'c6a89b2d-59bc-44d0-9896-0f6e12d7b80a' // Storage Queue Data Message Sender

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: storageAccountName
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-01-01' existing = {
  parent: account
  name: 'default'
}

resource requestQueue 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-01-01' existing = {
  parent: queueService
  name: names.requestQueue
}

resource components 'Microsoft.Insights/components@2020-02-02' existing = {
  name: componentsName
}

resource accountGrants 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in appRoles: {
  scope: account
  name: guid(account.id, appPrincipalId, role)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}]

resource logGrant 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: components
  name: guid(components.id, appPrincipalId, metricsPublisher)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', metricsPublisher)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// No principalType: who asks may be a person, a group or a pipeline.
resource requesterGrants 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for principalId in requesterPrincipalIds: {
  scope: requestQueue
  name: guid(requestQueue.id, principalId, messageSender)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', messageSender)
    principalId: principalId
  }
}]
