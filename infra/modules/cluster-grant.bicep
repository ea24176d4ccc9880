// Objects in a cluster that authorizes with Azure RBAC. Bicep has no resource for a namespace to put an
// assignment at, a template has: its scope is any text. Hence the template, which holds nothing else.

@description('Resource id of the cluster, or that id with /namespaces/NAME behind it.')
param clusterScope string

@description('Object id of the app\'s identity.')
param appPrincipalId string

@description('Resource id of the role of kubernetes/azure-role.json.')
param roleDefinitionId string

resource grant 'Microsoft.Resources/deployments@2025-04-01' = {
  name: 'mooring-cluster-grant-${uniqueString(clusterScope)}'
  properties: {
    mode: 'Incremental'
    template: loadJsonContent('../templates/cluster-grant.json')
    parameters: {
      clusterScope: { value: clusterScope }
      principalId: { value: appPrincipalId }
      roleDefinitionId: { value: roleDefinitionId }
    }
  }
}
