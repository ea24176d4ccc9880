// The system topic of this subscription: what is made and deleted in it. It delivers with its own identity.

@description('Name of the topic.')
param name string

@description('Tags of every resource.')
param tags object

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: name
  location: 'global'
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    source: subscription().id
    topicType: 'Microsoft.Resources.Subscriptions'
  }
}

@description('Object id of the topic\'s identity.')
output principalId string = topic.identity.principalId
