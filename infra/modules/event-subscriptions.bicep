// What of the topic goes to the queue: deletions, and writes of linkers. Filters are event-filter.json,
// which the local Azure delivers by, too, or event-filter-narrow.json.

@description('Name of the system topic.')
param topicName string

@description('Makes the names of the event subscriptions unique within the topic.')
param suffix string

@description('Resource id of the storage account of queue and dead letters.')
param storageAccountId string

@description('Resource ids of the action groups that are told when events are lost or no more sent.')
param actionGroupIds array

@description('Filter by resource type already in Event Grid, for subscriptions in which much is deleted.')
param narrow bool

@description('Azure tags of the alerts.')
param tags object

@description('Whether to make the alerts.')
param alertEnabled bool

@description('Resource id of the assignment by which the app may read this subscription.')
param readerAssignmentId string

@description('GUIDs of the roles that the app has.')
param roleGuids array

var watchedId = subscription().id
var topicGroupId = resourceGroup().id
var names = loadJsonContent('../names.json')
var runbooks = loadJsonContent('../runbooks.json')
var wideFilter = loadJsonContent('../event-filter.json').eventSubscriptions
var narrowFilter = loadJsonContent('../event-filter-narrow.json').eventSubscriptions
var shipped = narrow ? narrowFilter : wideFilter

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

// One after the other: Event Grid refuses two writes to one topic at a time.
@batchSize(1)
resource subscriptions 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = [for one in shipped: {
  parent: topic
  name: '${one.name}-${suffix}'
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    filter: one.filter
    deliveryWithResourceIdentity: {
      identity: {
        type: 'SystemAssigned'
      }
      destination: {
        endpointType: 'StorageQueue'
        properties: {
          resourceId: storageAccountId
          queueName: names.eventQueue
          queueMessageTimeToLiveInSeconds: 604800
        }
      }
    }
    deadLetterWithResourceIdentity: {
      identity: {
        type: 'SystemAssigned'
      }
      deadLetterDestination: {
        endpointType: 'StorageBlob'
        properties: {
          resourceId: storageAccountId
          blobContainerName: names.deadLetterContainer
        }
      }
    }
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
  }
}]

// Event Grid tells of the end of a subscription by an event, for which this very subscription would be needed.
module eventsGone 'activity-alert.bicep' = if (alertEnabled) {
  name: 'mooring-events-gone-${suffix}'
  params: {
    alert: 'events-gone'
    title: 'What sends events to Mooring was deleted: deletions are heard of by sweeps only'
    suffix: suffix
    tags: tags
    actionGroupIds: actionGroupIds
    operations: ['Microsoft.EventGrid/systemTopics/delete', 'Microsoft.EventGrid/systemTopics/eventSubscriptions/delete']
    scopes: [topicGroupId]
    resourceIds: union([topic.id], map(shipped, one => '${topic.id}/eventSubscriptions/${one.name}-${suffix}'))
  }
}

module readerChanged 'activity-alert.bicep' = if (alertEnabled) {
  name: 'mooring-rights-changed-${suffix}'
  params: {
    alert: 'rights-changed'
    title: 'The right by which Mooring reads this subscription was changed or deleted'
    suffix: suffix
    tags: tags
    actionGroupIds: actionGroupIds
    operations: ['Microsoft.Authorization/roleAssignments/write', 'Microsoft.Authorization/roleAssignments/delete']
    scopes: [watchedId]
    resourceIds: [readerAssignmentId]
  }
}

// A role can be changed by way of each subscription that it may be assigned in, and that one's record has it.
module rolesChanged 'activity-alert.bicep' = if (alertEnabled) {
  name: 'mooring-roles-changed-${suffix}'
  params: {
    alert: 'rights-changed'
    title: 'A role of Mooring was changed or deleted: what it contains is what Mooring may do'
    suffix: 'roles-${suffix}'
    tags: tags
    actionGroupIds: actionGroupIds
    operations: ['Microsoft.Authorization/roleDefinitions/write', 'Microsoft.Authorization/roleDefinitions/delete']
    scopes: [watchedId]
    resourceIds: map(roleGuids, name => subscriptionResourceId('Microsoft.Authorization/roleDefinitions', name))
  }
}

// One alert each: the criteria of one alert would all have to hold. An event that cannot be delivered has seven attempts
// behind it after an hour.
var losses = [
  {
    alert: 'lost-events'
    title: 'Event Grid dead-lettered a deletion'
    metric: 'DeadLetteredCount'
    threshold: 0
    frequency: 'PT5M'
    window: 'PT15M'
  }
  {
    alert: 'dropped-events'
    title: 'Event Grid dropped a deletion: only a sweep finds it'
    metric: 'DroppedEventCount'
    threshold: 0
    frequency: 'PT5M'
    window: 'PT15M'
  }
  {
    alert: 'delivery-failing'
    title: 'Event Grid fails to deliver deletions'
    metric: 'DeliveryAttemptFailCount'
    threshold: 5
    frequency: 'PT15M'
    window: 'PT1H'
  }
]

resource lostEvents 'Microsoft.Insights/metricAlerts@2018-03-01' = [for loss in losses: if (alertEnabled) {
  name: 'mooring-${loss.alert}-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    description: '${loss.title}. What to do: docs/runbooks/${runbooks[loss.alert]}.md'
    severity: 2
    enabled: true
    scopes: [topic.id]
    evaluationFrequency: loss.frequency
    windowSize: loss.window
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.MultipleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: loss.alert
          metricName: loss.metric
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: loss.threshold
          dimensions: [
            {
              name: 'EventSubscriptionName'
              operator: 'Include'
              values: map(shipped, one => '${one.name}-${suffix}')
            }
          ]
        }
      ]
    }
    autoMitigate: true
    actions: [for id in actionGroupIds: {
      actionGroupId: id
    }]
  }
}]
