// The gateway may send usage events, and nothing else.
param principalId string
param eventHubNamespaceName string
param usageEventsHub string

var azureEventHubsDataSender = '2b629674-e913-4c01-ae53-ef4638d8f975'

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' existing = {
  name: eventHubNamespaceName
}

resource usageEvents 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' existing = {
  parent: namespace
  name: usageEventsHub
}

resource sendsUsageEvents 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(usageEvents.id, principalId, azureEventHubsDataSender)
  scope: usageEvents
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', azureEventHubsDataSender)
  }
}
