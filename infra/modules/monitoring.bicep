// Where logs go. Keys are off: only identities with the role may write.

@description('Name of the workspace that is made, unless there is one.')
param workspaceName string

@description('Resource id of a workspace that is there already; empty makes one.')
param existingWorkspaceId string

@description('Name of the Application Insights resource.')
param componentsName string

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param retentionDays int

@description('Gigabytes of logs a day, after which no more are taken until the next; -1 for no limit.')
param dailyQuotaGb int

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-02-01' = if (empty(existingWorkspaceId)) {
  name: workspaceName
  location: location
  tags: tags
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: retentionDays
    workspaceCapping: {
      dailyQuotaGb: dailyQuotaGb
    }
    features: {
      disableLocalAuth: true
      enableLogAccessUsingOnlyResourcePermissions: true
    }
  }
}

resource components 'Microsoft.Insights/components@2020-02-02' = {
  name: componentsName
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    DisableLocalAuth: true
    IngestionMode: 'LogAnalytics'
    WorkspaceResourceId: empty(existingWorkspaceId) ? workspace.id : existingWorkspaceId
  }
}

@description('Resource id of the Application Insights resource.')
output componentsId string = components.id

@description('Name of the Application Insights resource.')
output componentsName string = components.name
