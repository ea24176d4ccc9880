// A subscription with clusters or targets: the app may read it, and a topic tells what is deleted in it.

targetScope = 'subscription'

@description('Object id of the app\'s identity.')
param appPrincipalId string

@description('GUID of the role of roles/reader.json.')
param readerRoleGuid string

@description('Resource group of the topic that is made here; used only without an existing topic.')
param topicGroupName string

@description('Name of the topic that is made here.')
param topicName string

@description('Resource id of the system topic that this subscription has already (Azure allows one); empty makes it.')
param existingTopicId string

@description('Azure region of the resource group; the topic itself is global.')
param location string

@description('Tags of every resource.')
param tags object

resource reader 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(subscription().id, appPrincipalId, readerRoleGuid)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', readerRoleGuid)
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource topicGroup 'Microsoft.Resources/resourceGroups@2025-04-01' = if (empty(existingTopicId)) {
  name: topicGroupName
  location: location
  tags: tags
}

module topic 'event-topic.bicep' = if (empty(existingTopicId)) {
  name: 'mooring-topic'
  scope: topicGroup
  params: {
    name: topicName
    tags: tags
  }
}

module existingTopic 'event-topic-existing.bicep' = if (!empty(existingTopicId)) {
  name: 'mooring-topic-existing'
  scope: resourceGroup(empty(existingTopicId) ? topicGroupName : split(existingTopicId, '/')[4])
  params: {
    name: last(split(existingTopicId, '/'))
  }
}

@description('Resource id of the assignment by which the app may read this subscription.')
output readerAssignmentId string = reader.id

@description('Object id of the identity with which the topic delivers.')
output topicPrincipalId string = empty(existingTopicId) ? topic.outputs.principalId : existingTopic.outputs.principalId
