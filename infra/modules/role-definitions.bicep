// The app's custom roles, from the files that the tests and the local Azure read too.

targetScope = 'subscription'

@description('Makes the names of the roles unique in the tenant.')
param suffix string

@description('Subscriptions in which the roles may be assigned, as resource ids.')
param assignableScopes array

@description('Keys of the roles to make: reader, identities, grants, dataGrants, keys, clusterObjects.')
param keys array

var roles = [
  { key: 'reader', definition: loadJsonContent('../roles/reader.json'), dataActions: [] }
  { key: 'identities', definition: loadJsonContent('../roles/identities.json'), dataActions: [] }
  { key: 'grants', definition: loadJsonContent('../roles/grants.json'), dataActions: [] }
  { key: 'dataGrants', definition: loadJsonContent('../roles/data-grants.json'), dataActions: [] }
  { key: 'keys', definition: loadJsonContent('../roles/keys.json'), dataActions: [] }
  {
    key: 'clusterObjects'
    definition: loadJsonContent('../kubernetes/azure-role.json')
    dataActions: loadJsonContent('../kubernetes/azure-role.json').dataActions
  }
]

resource definitions 'Microsoft.Authorization/roleDefinitions@2022-04-01' = [for role in roles: if (contains(keys, role.key)) {
  name: guid(subscription().id, suffix, role.key)
  properties: {
    roleName: '${role.definition.roleName} (${suffix})'
    description: role.definition.description
    type: 'CustomRole'
    permissions: [
      {
        actions: role.definition.actions
        notActions: []
        dataActions: role.dataActions
        notDataActions: []
      }
    ]
    assignableScopes: assignableScopes
  }
}]

@description('Names (GUIDs) of the roles that are made here.')
output made array = map(keys, key => guid(subscription().id, suffix, key))

@description('Names (GUIDs) of the roles by key, whether or not they were made here.')
output guids object = {
  reader: guid(subscription().id, suffix, 'reader')
  identities: guid(subscription().id, suffix, 'identities')
  grants: guid(subscription().id, suffix, 'grants')
  dataGrants: guid(subscription().id, suffix, 'dataGrants')
  keys: guid(subscription().id, suffix, 'keys')
  clusterObjects: guid(subscription().id, suffix, 'clusterObjects')
}
