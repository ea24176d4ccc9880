// The app on Flex Consumption. No key anywhere: storage, logs and Azure are reached with one identity.

@description('Name of the plan.')
param planName string

@description('Name of the app.')
param name string

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Resource id of the app\'s identity.')
param identityId string

@description('Client id of the app\'s identity.')
param identityClientId string

@description('URL of the blob service.')
param blobEndpoint string

@description('URL of the queue service.')
param queueEndpoint string

@description('URL of the table service.')
param tableEndpoint string

@description('Name of the Application Insights resource.')
param componentsName string

@description('Version of Python.')
param pythonVersion string

@description('Memory of one instance, MB.')
param instanceMemoryMb int

@description('Most instances at a time.')
param maximumInstanceCount int

@description('Resource id of the subnet that the app sends from; empty for none.')
param appSubnetId string

@description('Settings of the app, by name; none is a secret.')
param settings object

var names = loadJsonContent('../names.json')

resource components 'Microsoft.Insights/components@2020-02-02' existing = {
  name: componentsName
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    virtualNetworkSubnetId: empty(appSubnetId) ? null : appSubnetId
    siteConfig: {
      ftpsState: 'Disabled'
      http20Enabled: true
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${blobEndpoint}${names.packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: pythonVersion
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMb
        maximumInstanceCount: maximumInstanceCount
      }
    }
  }
}

resource appSettings 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: app
  name: 'appsettings'
  properties: union(settings, {
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
    APPLICATIONINSIGHTS_CONNECTION_STRING: components.properties.ConnectionString
    // The exporter of spans and metrics talks to nobody but our own resource.
    APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED: 'true'
    APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL: 'true'
    AzureWebJobsStorage__blobServiceUri: blobEndpoint
    AzureWebJobsStorage__clientId: identityClientId
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__queueServiceUri: queueEndpoint
    AzureWebJobsStorage__tableServiceUri: tableEndpoint
    AZURE_CLIENT_ID: identityClientId
  })
}

resource noFtpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource noScmPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

@description('Name of the app.')
output name string = app.name

@description('URL of the app.')
output url string = 'https://${app.properties.defaultHostName}'
