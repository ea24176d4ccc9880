// Private ways to the account's three services, and the names by which the app finds them.

@description('Resource id of the storage account.')
param storageAccountId string

@description('Prefix of the endpoints\' names.')
param namePrefix string

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Resource id of the subnet of private endpoints.')
param endpointSubnetId string

@description('Resource id of the subnet that the app sends from; its network must find the names.')
param appSubnetId string

@description('Make the DNS zones and link them; off where a central DNS does it.')
param dnsZones bool

var services = ['blob', 'queue', 'table']

resource endpoints 'Microsoft.Network/privateEndpoints@2024-07-01' = [for service in services: {
  name: '${namePrefix}-${service}'
  location: location
  tags: tags
  properties: {
    subnet: {
      id: endpointSubnetId
    }
    privateLinkServiceConnections: [
      {
        name: service
        properties: {
          privateLinkServiceId: storageAccountId
          groupIds: [service]
        }
      }
    ]
  }
}]

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [for service in services: if (dnsZones) {
  name: 'privatelink.${service}.${environment().suffixes.storage}'
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (service, i) in services: if (dnsZones) {
  parent: zones[i]
  name: 'mooring'
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: split(appSubnetId, '/subnets/')[0]
    }
  }
}]

resource zoneGroups 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-07-01' = [for (service, i) in services: if (dnsZones) {
  parent: endpoints[i]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: service
        properties: {
          privateDnsZoneId: zones[i].id
        }
      }
    ]
  }
}]
