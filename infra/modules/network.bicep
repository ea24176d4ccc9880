// A network of our own, where none is given: one subnet for the app, one for private endpoints.

@description('Name of the network.')
param name string

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Address range of the network, /24 or larger.')
param addressPrefix string

resource network 'Microsoft.Network/virtualNetworks@2024-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [addressPrefix]
    }
    // In the network itself: a network that is put again without its subnets may lose them.
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 26, 0)
          delegations: [
            {
              name: 'flex'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 26, 1)
          privateEndpointNetworkPolicies: 'Disabled'
        }
      }
    ]
  }
}

@description('Resource id of the subnet that the app sends from.')
output appSubnetId string = '${network.id}/subnets/app'

@description('Resource id of the subnet of private endpoints.')
output endpointSubnetId string = '${network.id}/subnets/endpoints'
