// An alert on Azure's own record of what is done to resources (the activity log): for what the app cannot tell of
// itself, since it is what the app hears with, or stands on.

@description('Name of the alert, of runbooks.json.')
param alert string

@description('What the alert says.')
param title string

@description('Makes the name of the alert unique in the group.')
param suffix string

@description('Tags of every resource.')
param tags object

@description('Resource ids of the action groups that are told.')
param actionGroupIds array

@description('Operations of Azure that it fires on, once they have succeeded.')
param operations array

@description('Resource ids at or below which they count, all in the subscription of this deployment.')
param scopes array

@description('Resource ids that alone count; empty for every one in the scopes.')
param resourceIds array = []

var runbooks = loadJsonContent('../runbooks.json')
var named = map(resourceIds, id => { field: 'resourceId', equals: id })

resource rule 'Microsoft.Insights/activityLogAlerts@2020-10-01' = {
  name: 'mooring-${alert}-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    description: '${title}. What to do: docs/runbooks/${runbooks[alert]}.md'
    enabled: true
    scopes: scopes
    condition: {
      allOf: flatten([
        [
          { field: 'category', equals: 'Administrative' }
          { field: 'status', equals: 'Succeeded' }
          { anyOf: map(operations, operation => { field: 'operationName', equals: operation }) }
        ]
        empty(named) ? [] : [{ anyOf: named }]
      ])
    }
    actions: {
      actionGroups: [for id in actionGroupIds: {
        actionGroupId: id
      }]
    }
  }
}
