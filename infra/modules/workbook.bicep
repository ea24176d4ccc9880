// One page for operators: what runs, what fails, what waits.

@description('Resource id of the Application Insights resource that the page reads.')
param componentsId string

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Title of the page.')
param title string

resource overview 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'mooring-overview')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: title
    category: 'workbook'
    sourceId: componentsId
    version: 'Notebook/1.0'
    serializedData: replace(loadTextContent('../workbook/overview.json'), '<componentsId>', componentsId)
  }
}
