// Everything Mooring needs in Azure. Deployed by azd at subscription scope; docs/deploying.md is the guide.

targetScope = 'subscription'

// --- azd

@description('Name of the azd environment; a part of every name made here.')
@minLength(1)
@maxLength(40)
param environmentName string

@description('Azure region of the app, its storage and its logs.')
@metadata({
  azd: {
    type: 'location'
  }
})
param location string

@description('More tags for every resource.')
param extraTags object = {}

// --- what Mooring may reach

@description('More subscriptions with clusters or targets: GUIDs separated by commas. The one deployed to is always watched: the identities are in it.')
param watchedSubscriptionIds string = ''

@description('Resource groups of targets, in which the app may grant the roles of roles/delegable.json: resource ids separated by commas, all in watched subscriptions. Empty: none, and no connection can be made.')
param targetResourceGroupIds string = ''

@description('Roles of roles/delegable.json that the app may grant: names separated by commas. Empty: all of them.')
param delegableRoles string = ''

@description('Who may put requests on the queue: object ids separated by commas.')
param requesterPrincipalIds string = ''

@description('System topics that watched subscriptions have already: resource ids separated by commas. Azure allows one for each subscription; it needs a system-assigned identity.')
param existingSystemTopicIds string = ''

@description('Filter events by resource type already in Event Grid, for subscriptions in which much is deleted. Costs a change here for each new target type.')
param narrowEventFilter bool = false

// --- roles, for deployers who may assign roles but not define them

@description('GUID of an existing role with the actions of roles/reader.json; empty defines it.')
param readerRoleGuid string = ''

@description('GUID of an existing role with the actions of roles/identities.json; empty defines it.')
param identitiesRoleGuid string = ''

@description('GUID of an existing role with the actions of roles/grants.json, such as Role Based Access Control Administrator (the condition is put on it all the same); empty defines it.')
param grantsRoleGuid string = ''

@description('Let the app grant what services keep themselves and Azure has no condition for: native roles of Cosmos DB, access policies of Redis (roles/data-grants.json).')
param dataGrants bool = false

@description('GUID of an existing role with the actions of roles/data-grants.json; empty defines it, with dataGrants.')
param dataGrantsRoleGuid string = ''

@description('Let the app have the keys of targets in targetResourceGroupIds, for connections by a key (authType secret), which the policy must allow too. Strong: a key is the whole service.')
param keyRole bool = false

@description('Define the role of kubernetes/azure-role.json, for clusters that authorize with Azure RBAC. It is assigned cluster by cluster (docs/deploying.md).')
param azureRbacRole bool = false

// --- the app

@description('Version of Python. The app is tested with this one only.')
param pythonVersion string = '3.13'

@description('Memory of one instance, MB.')
@allowed([512, 2048, 4096])
param instanceMemoryMb int = 2048

@description('Most instances at a time, for each trigger.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('What pruning may do: report walks the same path and changes nothing. Begin with it.')
@allowed(['report', 'enforce'])
param pruneMode string = 'report'

@description('Prove a connection with a token of its workload; needs kubernetes/role-prove.yaml in its namespace.')
@allowed(['on', 'off'])
param prove string = 'off'

@description('More settings of the app by name (docs/reference/settings.md); none is a secret.')
param moreSettings object = {}

@description('Redundancy of the storage account. LRS is in every region; ZRS outlives the loss of a zone, in regions that have zones.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param storageSku string = 'Standard_LRS'

@description('Days that dead-lettered events are kept.')
param deadLetterDays int = 30

// --- names

@description('Resource group of the app; empty for a name made of the environment\'s.')
param resourceGroupName string = ''

@description('Resource group of the workload identities that Mooring makes, and of nothing else; empty for a name made of the environment\'s.')
param identityResourceGroupName string = ''

// --- network

@description('Close the storage account to public networks and reach it through private endpoints.')
param vnetEnabled bool = false

@description('Subnet that the app sends from, delegated to Microsoft.App/environments; empty makes a network.')
param appSubnetId string = ''

@description('Subnet for private endpoints; given together with appSubnetId.')
param endpointSubnetId string = ''

@description('Address range of the network that is made, /24 or larger.')
param vnetAddressPrefix string = '10.87.0.0/24'

@description('Make the private DNS zones; off where a central DNS does it.')
param privateDnsZones bool = true

// --- logs

@description('Resource id of a Log Analytics workspace that is there already; empty makes one.')
param existingWorkspaceId string = ''

@description('Days that logs are kept.')
param logRetentionDays int = 30

@description('Gigabytes of logs a day, after which no more are taken; -1 for no limit.')
param logDailyQuotaGb int = 5

@description('Whether alerts fire.')
param alertsEnabled bool = true

@description('Who is told of alerts: e-mail addresses separated by commas.')
param alertEmails string = ''

// --- derived

var names = loadJsonContent('names.json')
var prefix = loadJsonContent('abbreviations.json')
var token = toLower(uniqueString(subscription().id, environmentName, location))
var shortToken = take(token, 6)
var tags = union(extraTags, { 'azd-env-name': environmentName })
var listed = empty(watchedSubscriptionIds) ? [] : map(split(watchedSubscriptionIds, ','), id => toLower(trim(id)))
var watched = union([subscription().subscriptionId], listed)
var targetGroups = empty(targetResourceGroupIds) ? [] : map(split(targetResourceGroupIds, ','), id => trim(id))
var dataGroups = dataGrants ? targetGroups : []
var delegable = empty(delegableRoles) ? [] : map(split(delegableRoles, ','), name => trim(name))
var requesters = empty(requesterPrincipalIds) ? [] : map(split(requesterPrincipalIds, ','), id => trim(id))
var emails = empty(alertEmails) ? [] : map(split(alertEmails, ','), email => trim(email))
var existingTopics = empty(existingSystemTopicIds) ? [] : map(split(existingSystemTopicIds, ','), id => trim(id))
var groupName = empty(resourceGroupName) ? '${prefix.resourceGroup}mooring-${environmentName}' : resourceGroupName
var identityGroupName = empty(identityResourceGroupName) ? '${prefix.resourceGroup}mooring-${environmentName}-identities' : identityResourceGroupName
var topicGroupName = '${groupName}-events'
var topicName = '${prefix.systemTopic}mooring-${shortToken}'
var existingTopicBySubscription = map(watched, id => join(filter(existingTopics, topic => startsWith(toLower(topic), '/subscriptions/${id}/')), ''))
var storageName = '${prefix.storageAccount}mooring${token}'
var ownNetwork = vnetEnabled && empty(appSubnetId)
var madeRoles = flatten([
  empty(readerRoleGuid) ? ['reader'] : []
  empty(identitiesRoleGuid) ? ['identities'] : []
  empty(grantsRoleGuid) ? ['grants'] : []
  dataGrants && empty(dataGrantsRoleGuid) ? ['dataGrants'] : []
  keyRole ? ['keys'] : []
  azureRbacRole ? ['clusterObjects'] : []
])
var givenRoles = filter([readerRoleGuid, identitiesRoleGuid, grantsRoleGuid, dataGrantsRoleGuid], name => !empty(name))

// --- resource groups

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: groupName
  location: location
  tags: tags
}

resource identityGroup 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: identityGroupName
  location: location
  tags: tags
}

// --- the app and what it stands on

module identity 'modules/identity.bicep' = {
  name: 'mooring-identity'
  scope: group
  params: {
    name: '${prefix.identity}mooring-${shortToken}'
    location: location
    tags: tags
  }
}

module storage 'modules/storage.bicep' = {
  name: 'mooring-storage'
  scope: group
  params: {
    name: storageName
    location: location
    tags: tags
    sku: storageSku
    privateOnly: vnetEnabled
    deadLetterDays: deadLetterDays
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'mooring-monitoring'
  scope: group
  params: {
    workspaceName: '${prefix.workspace}mooring-${shortToken}'
    existingWorkspaceId: existingWorkspaceId
    componentsName: '${prefix.components}mooring-${shortToken}'
    location: location
    tags: tags
    retentionDays: logRetentionDays
    dailyQuotaGb: logDailyQuotaGb
  }
}

module appGrants 'modules/app-grants.bicep' = {
  name: 'mooring-app-grants'
  scope: group
  params: {
    storageAccountName: storage.outputs.name
    componentsName: monitoring.outputs.componentsName
    appPrincipalId: identity.outputs.principalId
    requesterPrincipalIds: requesters
  }
}

module network 'modules/network.bicep' = if (ownNetwork) {
  name: 'mooring-network'
  scope: group
  params: {
    name: '${prefix.virtualNetwork}mooring-${shortToken}'
    location: location
    tags: tags
    addressPrefix: vnetAddressPrefix
  }
}

module privateEndpoints 'modules/private-endpoints.bicep' = if (vnetEnabled) {
  name: 'mooring-private-endpoints'
  scope: group
  params: {
    storageAccountId: storage.outputs.id
    namePrefix: '${prefix.privateEndpoint}mooring-${shortToken}'
    location: location
    tags: tags
    endpointSubnetId: ownNetwork ? network.outputs.endpointSubnetId : endpointSubnetId
    appSubnetId: ownNetwork ? network.outputs.appSubnetId : appSubnetId
    dnsZones: privateDnsZones
  }
}

module app 'modules/function-app.bicep' = {
  name: 'mooring-app'
  scope: group
  params: {
    planName: '${prefix.plan}mooring-${shortToken}'
    name: '${prefix.functionApp}mooring-${shortToken}'
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    blobEndpoint: storage.outputs.blobEndpoint
    queueEndpoint: storage.outputs.queueEndpoint
    tableEndpoint: storage.outputs.tableEndpoint
    componentsName: monitoring.outputs.componentsName
    pythonVersion: pythonVersion
    instanceMemoryMb: instanceMemoryMb
    maximumInstanceCount: maximumInstanceCount
    appSubnetId: vnetEnabled ? (ownNetwork ? network.outputs.appSubnetId : appSubnetId) : ''
    settings: union(moreSettings, {
      AZURE_AUTHORITY_HOST: environment().authentication.loginEndpoint
      AZURE_TENANT_ID: tenant().tenantId
      MOORING_ARM_ENDPOINT: environment().resourceManager
      MOORING_DEAD_LETTER_CONTAINER: names.deadLetterContainer
      MOORING_IDENTITY_RESOURCE_GROUP_ID: identityGroup.id
      MOORING_PROVE: prove
      MOORING_PRUNE_MODE: pruneMode
      MOORING_SUBSCRIPTION_IDS: join(watched, ',')
    })
  }
  // The host reads its storage when it starts; rights and network must be there before it.
  dependsOn: [appGrants, privateEndpoints]
}

// --- roles

module roles 'modules/role-definitions.bicep' = {
  name: 'mooring-roles-${shortToken}'
  params: {
    suffix: token
    assignableScopes: map(watched, id => '/subscriptions/${id}')
    keys: madeRoles
  }
}

module identitiesGrant 'modules/identities-grant.bicep' = {
  name: 'mooring-identities-grant'
  scope: identityGroup
  params: {
    appPrincipalId: identity.outputs.principalId
    roleGuid: empty(identitiesRoleGuid) ? roles.outputs.guids.identities : identitiesRoleGuid
  }
}

module delegateGrants 'modules/delegate-grant.bicep' = [for id in targetGroups: {
  name: 'mooring-delegate-grant-${shortToken}'
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    appPrincipalId: identity.outputs.principalId
    roleGuid: empty(grantsRoleGuid) ? roles.outputs.guids.grants : grantsRoleGuid
    roleNames: delegable
  }
}]

module dataGrant 'modules/data-grant.bicep' = [for id in dataGroups: {
  name: 'mooring-data-grant-${shortToken}'
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    appPrincipalId: identity.outputs.principalId
    roleGuid: empty(dataGrantsRoleGuid) ? roles.outputs.guids.dataGrants : dataGrantsRoleGuid
  }
}]

module keysGrants 'modules/keys-grant.bicep' = [for id in targetGroups: if (keyRole) {
  name: 'mooring-keys-grant-${shortToken}'
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    appPrincipalId: identity.outputs.principalId
    roleGuid: roles.outputs.guids.keys
  }
}]

// --- events, one chain for each watched subscription

module watchedSubscriptions 'modules/watched-subscription.bicep' = [for (id, i) in watched: {
  name: 'mooring-watched-${shortToken}'
  scope: subscription(id)
  params: {
    appPrincipalId: identity.outputs.principalId
    readerRoleGuid: empty(readerRoleGuid) ? roles.outputs.guids.reader : readerRoleGuid
    topicGroupName: topicGroupName
    topicName: topicName
    existingTopicId: existingTopicBySubscription[i]
    location: location
    tags: tags
  }
}]

module deliveryGrants 'modules/event-delivery-grants.bicep' = [for (id, i) in watched: {
  name: 'mooring-delivery-grants-${i}'
  scope: group
  params: {
    storageAccountName: storage.outputs.name
    topicPrincipalId: watchedSubscriptions[i].outputs.topicPrincipalId
  }
}]

module eventSubscriptions 'modules/event-subscriptions.bicep' = [for (id, i) in watched: {
  name: 'mooring-event-subscriptions-${shortToken}'
  scope: resourceGroup(id, empty(existingTopicBySubscription[i]) ? topicGroupName : split(existingTopicBySubscription[i], '/')[4])
  params: {
    topicName: empty(existingTopicBySubscription[i]) ? topicName : last(split(existingTopicBySubscription[i], '/'))
    suffix: shortToken
    storageAccountId: storage.outputs.id
    narrow: narrowEventFilter
    actionGroupIds: [alerts.outputs.actionGroupId]
    tags: tags
    alertEnabled: alertsEnabled
    readerAssignmentId: watchedSubscriptions[i].outputs.readerAssignmentId
    roleGuids: union(roles.outputs.made, givenRoles)
  }
  dependsOn: [deliveryGrants]
}]

// --- operators

module alerts 'modules/alerts.bicep' = {
  name: 'mooring-alerts'
  scope: group
  params: {
    componentsId: monitoring.outputs.componentsId
    actionGroupName: '${prefix.actionGroup}mooring-${shortToken}'
    emails: emails
    location: location
    tags: tags
    suffix: shortToken
    enabled: alertsEnabled
  }
}

// In the groups of targets Mooring itself gives and takes roles all the time; in its own nobody should.
module rightsChanged 'modules/activity-alert.bicep' = if (alertsEnabled) {
  name: 'mooring-own-rights-changed'
  scope: group
  params: {
    alert: 'rights-changed'
    title: 'A role was given or taken in the groups of Mooring'
    suffix: 'groups-${shortToken}'
    tags: tags
    actionGroupIds: [alerts.outputs.actionGroupId]
    operations: ['Microsoft.Authorization/roleAssignments/write', 'Microsoft.Authorization/roleAssignments/delete']
    scopes: [group.id, identityGroup.id]
  }
}

// Whoever gives the app's identity a credential of theirs has all that Mooring has. Its scope is that one identity:
// to the identities of workloads Mooring gives credentials itself.
module identityTaken 'modules/activity-alert.bicep' = if (alertsEnabled) {
  name: 'mooring-own-identity-taken'
  scope: group
  params: {
    alert: 'rights-changed'
    title: 'The identity of Mooring was given a federated credential: somebody else may sign in as it'
    suffix: 'identity-${shortToken}'
    tags: tags
    actionGroupIds: [alerts.outputs.actionGroupId]
    operations: ['Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write']
    scopes: [identity.outputs.id]
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'mooring-workbook'
  scope: group
  params: {
    componentsId: monitoring.outputs.componentsId
    location: location
    tags: tags
    title: 'Mooring ${environmentName}'
  }
}

@description('Resource group of the app.')
output AZURE_RESOURCE_GROUP string = group.name

@description('Resource group of the workload identities; it outlives the app.')
output IDENTITY_RESOURCE_GROUP string = identityGroup.name

@description('Tenant that the app signs in to.')
output AZURE_TENANT_ID string = tenant().tenantId

@description('Name of the app.')
output FUNCTION_APP_NAME string = app.outputs.name

@description('URL of the app.')
output FUNCTION_APP_URL string = app.outputs.url

@description('Object id of the app\'s identity: its user name in clusters.')
output APP_PRINCIPAL_ID string = identity.outputs.principalId

@description('Storage account of queues and state.')
output STORAGE_ACCOUNT_NAME string = storage.outputs.name

@description('GUID of the role for clusters that authorize with Azure RBAC; it exists if azureRbacRole is on.')
output CLUSTER_OBJECTS_ROLE_GUID string = roles.outputs.guids.clusterObjects
