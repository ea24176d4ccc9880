// A system topic that was there before. It needs a system-assigned identity; this changes nothing about it.

@description('Name of the topic.')
param name string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: name
}

@description('Object id of the topic\'s identity.')
output principalId string = topic.identity.principalId
